"""Feature views of Feast as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from featurestore.feast.feature_types import of_arrow, of_feast, of_feature, of_key, of_value_type
from featurestore.feast.file_pipeline import NO_ENTITY, NO_ENTITY_VALUE, FilePipeline, FilePipelines
from featurestore.feast.remark import LeftOut, Remarks
from featurestore.feast.repository import Described, FeastField, FeastSource, FeastView, Repository
from featurestore.feast.resource_draft import ResourceDraft, check, check_model, draft
from featurestore.feast.resource_names import ResourceNames, feature_name
from featurestore.resources.feature_view import Feature
from featurestore.resources.quantity import format_duration
from featurestore.resources.value import ColumnType


class ImportedView:
    """A view of Feast, and what of it is here. ``features``: by their names in Feast, as they stand in the document."""

    def __init__(
        self, view: Described, kind: str, document: ResourceDraft, features: dict[str, ResourceDraft]
    ) -> None:
        self.view = view
        self.kind = kind
        self.document = document
        self.features = features

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])


class ViewImport:
    """Makes ours of the views of a repository, and the pipelines that these need."""

    def __init__(self, repository: Repository, remarks: Remarks) -> None:
        self._entities = {entity.name: entity for entity in repository.entities}
        self._sources = {source.id: source for source in repository.sources}
        self.names = ResourceNames()
        self._remarks = remarks
        self.pipelines = FilePipelines()

    def view(self, view: FeastView) -> ImportedView:
        """The view with those of its features that can be features here.

        Raises:
            LeftOut: it takes rows from elsewhere than files, or nothing of it is left.
        """
        pipeline = self.pipelines.of(self._files(view))
        timestamp = pipeline.timestamp
        keys = self._keys(view, pipeline)
        features = dict(self._features(view, pipeline, keys))
        if not features:
            raise LeftOut("no feature of it is left")
        entity = ResourceNames().new("-".join(view.entities) or NO_ENTITY)
        spec: ResourceDraft = {
            "entity": {
                "name": entity,
                "joinKeys": [{"name": name, "type": key} for name, key in keys.items()],
            },
            "source": {"pipeline": pipeline.name},
            "timestampField": timestamp,
        }
        if pipeline.created:
            spec["createdTimestampField"] = pipeline.created
        if view.ttl_s:
            spec["ttl"] = format_duration(timedelta(seconds=view.ttl_s))
        spec["features"] = list(features.values())
        if not view.online:
            spec["online"] = {"enabled": "Never"}
        if not view.enabled:
            spec["suspend"] = "Suspended"
        document = draft("FeatureView", self.names.new(view.name), spec, view, view.kind, self._remarks)
        check(document)
        pipeline.without_entity |= not view.entities
        self._say_differences(view)
        return ImportedView(view, view.kind, document, features)

    def _files(self, view: FeastView) -> FeastSource:
        """The files that its rows are in.

        Raises:
            LeftOut: they are not in files, or not as they are.
        """
        if view.on_views:
            raise LeftOut(
                f"it is made of other views ({', '.join(view.on_views)}): write it as steps of a pipeline"
            )
        if view.computed:
            raise LeftOut(
                "a transformation or an aggregation computes its rows: "
                "write it as steps of a pipeline, or as features with aggregate"
            )
        source = self._sources.get(view.source) if view.source is not None else None
        if source is None:
            raise LeftOut("it has no source with its history")
        if source.kind != "FileSource":
            raise LeftOut(
                f"its source is a {source.kind}, and pipelines read files: export {source.name} to Parquet"
            )
        if source.format != "ParquetFormat":
            raise LeftOut(
                f"its files are of {source.format}, and pipelines read Parquet, CSV, JSON and Arrow"
            )
        return source

    def _keys(self, view: FeastView, pipeline: FilePipeline) -> dict[str, str]:
        """Its join keys with their types.

        Raises:
            LeftOut: one has a type that no join key has, or an entity is not defined.
        """
        if not view.entities:
            return {NO_ENTITY: "string"}
        fields = {field.name: field.type for field in view.fields}
        keys = {}
        for name in view.entities:
            entity = self._entities.get(name)
            if entity is None:
                raise LeftOut(f"the repository does not define its entity {name}")
            column = pipeline.column(entity.join_key)
            declared = fields.get(entity.join_key, entity.type)
            held = pipeline.held.get(column, "nothing")
            if declared == "UNKNOWN":
                key_type, declared_as = pipeline.type_of(column), held
            else:
                key_type, declared_as = of_feast(declared) or of_value_type(declared), declared
                key_type = key_type and of_feature(key_type, pipeline.type_of(column))
            key = of_key(key_type)
            if key is None:
                raise LeftOut(f"its join key {entity.join_key} is {declared_as}: wanted a text or an integer")
            keys[column] = key.value
        return keys

    def _features(
        self, view: FeastView, pipeline: FilePipeline, keys: Mapping[str, str]
    ) -> Iterator[tuple[str, ResourceDraft]]:
        """Name in Feast, and feature, of each that can be one. Says why the others cannot."""
        given = {name.lower() for name in keys}
        for field in self._fields(view, pipeline, keys):
            of = f"{view.name}:{field.name}"
            try:
                wanted = _feature_type(field, pipeline)
                feature = {"name": feature_name(field.name, given), "type": wanted.value}
                if feature["name"] != field.name:
                    feature["column"] = field.name
                if field.description:
                    feature["description"] = field.description
                check_model(Feature, feature)
            except LeftOut as why:
                self._remarks.leave_out(view.kind, of, str(why))
                continue
            given.add(feature["name"].lower())
            if feature["name"] != field.name:
                self._remarks.say(view.kind, of, f"is named {feature['name']}: calls must say so")
            if (of_feast(field.type) or wanted) is not wanted:
                remark = (
                    f"is {wanted.value} and not {field.type}, as in its files: Feast gives these in training"
                )
                self._remarks.say(view.kind, of, remark)
            if field.vector:
                self._remarks.say(view.kind, of, "is a list of numbers: there is no search for similar ones")
            yield field.name, feature

    def _fields(
        self, view: FeastView, pipeline: FilePipeline, keys: Mapping[str, str]
    ) -> Iterator[FeastField]:
        """Its features as declared or, as Feast infers them, what files have beside keys and times."""
        joined = {self._entities[name].join_key for name in view.entities}
        declared = [field for field in view.fields if field.name not in joined]
        if declared:
            yield from declared
            return
        if not pipeline.held:
            raise LeftOut(f"it has no schema, and its files could not be read: {pipeline.source.unreadable}")
        apart = {*keys, pipeline.timestamp, pipeline.created}
        for column, arrow in pipeline.held.items():
            if column not in apart and not column.startswith("__"):
                yield FeastField(name=column, type=arrow)

    def _say_differences(self, view: FeastView) -> None:
        if view.stream:
            self._remarks.say(
                view.kind,
                view.name,
                f"rows of its {view.stream} do not reach it: land them as files beside those of its batch source",
            )
        if not view.entities:
            self._remarks.say(
                view.kind, view.name, f"has no entity: requests and labels give {NO_ENTITY}={NO_ENTITY_VALUE}"
            )
        if view.version:
            self._remarks.say(
                view.kind, view.name, f"is what the files define, and not version {view.version}"
            )
        if tagged := [field.name for field in view.fields if field.tags]:
            self._remarks.say(view.kind, view.name, f"tags of features have no place: {', '.join(tagged)}")


def _feature_type(field: FeastField, pipeline: FilePipeline) -> ColumnType:
    """The type of the feature.

    Raises:
        LeftOut: there is none for it, or the files have no such column.
    """
    if pipeline.held and field.name not in pipeline.held:
        raise LeftOut("its files have no such column")
    held = pipeline.held.get(field.name)
    wanted = of_arrow(field.type) if field.type == held else of_feast(field.type)
    if wanted is None:
        raise LeftOut(f"no feature can be {field.type}")
    if held is not None and of_arrow(held) is None:
        raise LeftOut(f"no feature can be {held}, as it is in its files")
    return of_feature(wanted, of_arrow(held) if held else None)
