"""A worker's log, cut into what it says of each batch."""

from __future__ import annotations

from featurestore.kubectl.log_sections import worker_sections

LOG = """\
2026-01-01T00:00:01.123456789Z 00:00:01.123 waits for batches at port 6567
2026-01-01T00:00:02.123456789Z 00:00:02.123 flights: batch 7: begins
2026-01-01T00:00:03.123456789Z 00:00:03.123 dataset: 100 of 900 rows
2026-01-01T00:00:04.123456789Z printed by a callable
2026-01-01T00:00:05.123456789Z 00:00:05.123 flights: batch 7: exit code 5 after 2.90 s
2026-01-01T00:00:06.123456789Z 00:00:06.123 others: batch 1: begins
2026-01-01T00:00:07.123456789Z printed by a callable of others
2026-01-01T00:00:08.123456789Z 00:00:08.123 others: batch 1: done after 1.90 s
2026-01-01T00:00:09.123456789Z 00:00:09.123 flights: batch 8: begins
2026-01-01T00:00:10.123456789Z 
2026-01-01T00:00:11.123456789Z 00:00:11.123 flights: batch 9: begins
2026-01-01T00:00:12.123456789Z 00:00:12.123 run batch 9"""


def test_each_batch_has_the_lines_from_its_begin_to_its_end() -> None:
    first, killed, last = worker_sections("flights", "worker-1", LOG)
    assert str(first).splitlines() == [
        "── batch 7, worker worker-1",
        "00:00:02.123 flights: batch 7: begins",
        "00:00:03.123 dataset: 100 of 900 rows",
        "printed by a callable",
        "00:00:05.123 flights: batch 7: exit code 5 after 2.90 s",
    ]
    assert first.began_us == 1_767_225_602_123_456
    assert killed.lines == ("00:00:09.123 flights: batch 8: begins", "")
    assert last.lines == ("00:00:11.123 flights: batch 9: begins", "00:00:12.123 run batch 9")


def test_what_is_logged_about_others_is_theirs() -> None:
    [section] = worker_sections("others", "worker-1", LOG)
    assert (section.work, len(section.lines)) == ("batch/others/1", 3)
    assert [*worker_sections("absent", "worker-1", LOG)] == []
