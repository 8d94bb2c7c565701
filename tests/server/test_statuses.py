"""A status is called the same in a server's answers and in its metrics as in the client."""

from __future__ import annotations

import pytest

from featurestore.resources.value import ColumnType
from featurestore.server.columnar import json_statuses
from featurestore.server.measurements import _BY_CODE
from featurestore.views.value_column import ListColumn
from featurestore.views.value_status import Status


@pytest.mark.parametrize("status", Status)
def test_each_code_has_the_name_of_its_status(status: Status) -> None:
    assert json_statuses(ListColumn(ColumnType.INT64, [None], [status])) == [status.name]
    assert _BY_CODE[status] is status
