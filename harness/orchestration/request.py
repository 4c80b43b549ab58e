"""What a user asks `run` for, as one typed object, and the methods that take part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, TypeAdapter, ValidationError

from harness.catalog import BUILT_IN, Catalog
from harness.config.budget import Budget
from harness.config.fit import fitted
from harness.config.precision import Precision
from harness.config.preset import AUTO, ON_GPU, Preset, Row, load_preset, with_typed_settings
from harness.config.protocol import ScoringProtocol
from harness.config.split_spec import SplitSpec
from harness.contract import Part
from harness.data.fingerprint import fingerprint
from harness.data.splits.labelled import check_labels
from harness.errors import HarnessError
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.plan_from_data import plan_trials
from harness.orchestration.prepared_data import PreparedData
from harness.orchestration.run_options import RunOptions
from harness.platform.memory import device_memory
from harness.results.schema import DataFacts
from harness.stacks import resolve, resolve_init, split_methods

RUNS = Path("results/runs")
"""Where the folder of a run is made, if the user names none."""


def _seconds(text: str) -> float:
    budget = Budget.parse(text, name="--wall-limit")
    if budget.kind != "seconds":
        raise HarnessError(f"--wall-limit {text!r} is no time: type 90s, 30m or 2h")
    return budget.amount


def _bytes(text: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(text.strip()))
    except ValidationError as error:
        raise HarnessError(f"--memory-limit {text!r} is no size: type it as in 8GB or 500MB") from error


def _parsed(parse: Callable[[str], Any]) -> BeforeValidator:
    """Parses what was typed. HarnessErrors pass through pydantic as they are."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


class RunRequest(BaseModel):
    """The options of `run`, by their names on the command line. None stands for the preset's or the run's default.

    Raises HarnessError where a budget, time or size cannot be read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: str | None = None
    sources: tuple[str, ...] = ()
    preset: str = AUTO
    settings: tuple[str, ...] = ()
    tuned: Path | None = None
    budget: str | None = None
    seeds: int = 1
    seed: int = 0
    init: str | None = None
    pretrain: str | None = None
    device: str = "cpu"
    device_note: str = ""
    precision: Precision = "auto"
    out: Path | None = None
    split: Path | None = None
    validation: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    group_by: str = ""
    hold_out: str = ""
    folds: int = 0
    labels: tuple[Annotated[str, AfterValidator(check_labels)], ...] = ()
    unlabelled: tuple[str, ...] = ()
    skip_bad: bool = False
    trust_labels: bool = False
    threshold: float | None = None
    protocol: ScoringProtocol = ""
    deterministic: bool = False
    on_oom: Literal["record", "halve"] = "record"
    retry_failed: bool = False
    wall_limit: Annotated[float | None, _parsed(_seconds)] = None
    memory_limit: Annotated[int | None, _parsed(_bytes)] = None
    keep_weights: Literal["none", "best", "all"] | None = None
    jobs: int = 1
    engine: Literal["local", "slurm", "ray"] = "local"
    engine_options: str = ""
    address: str = "auto"
    dry_run: bool = False
    quiet: bool = False
    wide: bool = False
    tensorboard: bool = False
    mlflow: str | None = None
    adapters: tuple[str, ...] = ()
    as_json: bool = False
    command: str = ""

    def run_dir(self) -> Path:
        """The folder of the run; a new one where none was named."""
        return self.out or RUNS / f"{datetime.now():%Y-%m-%d-%H%M%S}-{Path(self.preset).stem}"

    def base_preset(self) -> Preset:
        """The preset that was named, with the settings that were typed, before anything is fitted to the data."""
        if self.preset == AUTO and self.device.startswith("cuda"):
            return with_typed_settings(load_preset(ON_GPU).model_copy(update={"name": AUTO}), self.settings)
        return with_typed_settings(load_preset(self.preset), self.settings)

    def fit_preset(self, preset: Preset, data: PreparedData, facts: DataFacts) -> Preset | None:
        """The preset fitted to the training images of `facts`; None where it is not to be fitted."""
        if self.preset != AUTO or preset.name != AUTO:
            return None
        measured = fingerprint(data.dataset, facts.splits["train"])
        typed = [text.partition("=")[0].strip() for text in self.settings]
        return fitted(preset, measured, self.device, device_memory(self.device), typed)

    def split_spec(self) -> SplitSpec:
        """How the images are divided. Raises HarnessError where two options contradict each other."""
        ways = {
            "--split": self.split is not None,
            "--validation": bool(self.validation),
            "--hold-out": bool(self.hold_out),
            "--folds": bool(self.folds),
        }
        chosen = [option for option, given in ways.items() if given]
        if self.folds == 1:
            raise HarnessError("--folds 1 leaves nothing to train on; type 2 or more")
        # a table of images may hold the column that --hold-out or --group-by names
        if len(chosen) > 1 and not (set(chosen) <= {"--split", "--hold-out"} or set(chosen) == {"--split", "--folds"}):
            raise HarnessError(f"{' and '.join(chosen)} both say which images are scored; leave one out")
        if self.calibration and set(chosen) - {"--validation"}:
            raise HarnessError(f"--calibration SOURCE goes with --validation SOURCE, not with {chosen[0]}")
        if self.split is not None and not self.split.is_file():
            raise HarnessError(f"--split {self.split}: there is no such file; give a CSV or JSON of image and part")
        return SplitSpec(
            file="" if self.split is None else str(self.split.resolve()),
            validation=self.validation,
            calibration=self.calibration,
            group_by=self.group_by,
            hold_out=self.hold_out,
            folds=self.folds,
            labels=self.labels[0] if len(self.labels) == 1 else "",
            unlabelled=self.unlabelled,
        )

    def options(self) -> RunOptions:
        """How the plan is worked through."""
        return RunOptions(
            wall_limit=self.wall_limit,
            memory_limit=self.memory_limit,
            on_oom=self.on_oom,
            retry_failed=self.retry_failed,
            keep_weights=self.keep_weights,
        )

    def plan(self, contenders: Sequence[Contender], preset: Preset, tell: Callable[[str], None]) -> Manifest:
        """Read the data, and plan every trial. tell: called with each remark on the data."""
        return plan_trials(
            contenders,
            range(self.seed, self.seed + self.seeds),
            self.sources or (preset.source,),
            split=self.split_spec(),
            labels=self.labels,
            skip_bad=self.skip_bad,
            trust_labels=self.trust_labels,
            command=self.command,
            tell=tell,
            fit=self.fit_preset,
            device=self.device,
            precision=self.precision,
            deterministic=self.deterministic,
            threshold=self.threshold,
            protocol=self.protocol,
            tensorboard=self.tensorboard,
        )


def find_contenders(request: RunRequest, catalog: Catalog, preset: Preset) -> list[Contender]:
    """The methods that take part: those that were named, else the rows of the preset.

    Raises:
        HarnessError: no method is named, one is not there, cannot be stacked or needs a package that is missing, a
            budget cannot be read, or weights to start from are missing or damaged.
    """
    found = _named_contenders(request, catalog, preset)
    for contender in found:
        contender.resolved.require_packages()
        for seed in range(request.seed, request.seed + request.seeds):
            contender.start(seed)
    return found


def left_out_of_all(request: RunRequest, catalog: Catalog) -> list[str]:
    """One line for each method that `all` leaves out since a package is missing."""
    if "all" not in (request.methods or "").split(","):
        return []
    return [f"all leaves {m.name} out: {m.unavailable()}" for m in catalog if m.default and m.missing()]


def _named_contenders(request: RunRequest, catalog: Catalog, preset: Preset) -> list[Contender]:
    typed = request.init is not None
    init = resolve_init(
        catalog, request.init or preset.init, preset.size, "--init" if typed else f"preset {preset.name}: init"
    )
    if request.methods is None:
        if not preset.rows:
            raise HarnessError("no method named: type --methods all, or names from `python -m harness methods`")
        return [_row_contender(row, catalog, preset, init, request.budget) for row in preset.rows]
    budget = request.budget or preset.budget
    Budget.parse(budget)
    stacks = [resolve(catalog, stack, preset.size, init) for stack in split_methods(request.methods, catalog)]
    unique = {stack.name: stack for stack in stacks}
    return [Contender(stack, preset, budget) for stack in unique.values()]


def _row_contender(row: Row, catalog: Catalog, preset: Preset, init: Part, budget: str | None) -> Contender:
    """A row of a preset, with its own training settings and budget."""
    Budget.parse(budget or row.budget)
    own = preset.model_copy(update={"training": preset.training_of(row)})
    return Contender(resolve(catalog, row.method, preset.size, init), own, budget or row.budget, row.name)


def engine_modules(contenders: Sequence[Contender]) -> list[str]:
    """Modules of the engines that take part, without those that are a user's own."""
    modules = {contender.resolved.recipe.engine.factory.partition(":")[0] for contender in contenders}
    return sorted(name for name in modules if name.partition(".")[0] == BUILT_IN)
