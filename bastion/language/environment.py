"""The names of a session: those bound at start and those cells have assigned, with the connection they work on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from bastion_plan.errors import InputError
from bastion_plan.models import layers

from bastion import expressions
from bastion.client.connection import Connection
from bastion.client.endpoints import passphrase_prompt
from bastion.client.frames import RemoteLazyFrame, concat
from bastion.client.training.datasets import RemoteDataset
from bastion.client.training.optimizers import OPTIMIZERS, SCHEDULES
from bastion.client.training.tensors import train_test_split
from bastion.client.training.tokenizers import RemoteTokenizer
from bastion.expr import selectors
from bastion.expr.core import PYTHON_METHODS, refuse_python
from bastion.language.builtins import builtins, constructors
from bastion.language.callables import Module, SafeFunction
from bastion.language.check import Known, unknown_name
from bastion.language.connecting import Wish, open_connection, serves, wish_of
from bastion.language.keeping import Kept
from bastion.language.limits import Limits
from bastion.language.local_files import tokenizer_from_file
from bastion.language.outputs import OutputMeter
from bastion.render.safe_text import safe_text

#: opens a connection from what a cell wrote: an endpoint or token (or nothing), and the name of an identity; with
#: `passphrase`, once that was asked for
Connector = Callable[..., Awaitable[Connection]]


class Environment:
    """The session that cells share.

    Args:
        connection: an open connection of the awaitable flavour; None to connect from a cell.
        connector: how cells connect; `open_connection` by default. Front ends that must not connect give their own.
        limits: of every cell.
    """

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        connector: Connector = open_connection,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.connection = connection
        self.connector = connector
        #: what the connection was opened for
        self._wish: Wish | None = None
        #: what to write where there is no connection yet
        self.how_to_connect = 'Write connect(), or connect("bastion1.…", identity="NAME") with an owner\'s invitation.'
        #: names that cells have assigned
        self.names: dict[str, Any] = {}
        #: the text of all cells that were run, in order
        self.history: list[str] = []
        #: returns the last so many cells with a text in them, also of earlier sessions; None: of this session only
        self.recall: Callable[[str, int], list[str]] | None = None
        #: whether the notebook around the cells has a variable of a name, which they do not see; None: there is none
        self.outside: Callable[[str], bool] | None = None
        self.printed: list[str] = []
        self.displayed: list[Any] = []
        #: counts what a cell prints and displays
        self.output = OutputMeter(self.limits)
        #: counts what the names hold
        self.kept = Kept(self.limits)
        #: asks whoever runs the cell for the passphrase of a sealed key; None where nobody can be asked
        self.ask_passphrase: Callable[[str], Awaitable[str]] | None = None
        #: called with the new connection after `connect`
        self.on_connect: Callable[[Connection], Any] | None = None
        #: called with text as it is printed and with values as they are displayed; None to have them in the result only
        self.on_print: Callable[[str], Any] | None = None
        self.on_display: Callable[[Any], Any] | None = None
        self.fixed: dict[str, Any] = self._fixed()

    # ---- names -------------------------------------------------------------------------------------------------------

    def known(self) -> set[str]:
        """Return all names that have a value."""
        return {*self.fixed, *self.names}

    def lookup(self, name: str) -> Any:
        """Return a name's value.

        Raises:
            LanguageError: it has none. InputError: `connection` before there is one.
        """
        if name in self.names:
            return self.names[name]
        if name == "connection":
            return self.require_connection()
        if name in self.fixed:
            return self.fixed[name]
        raise unknown_name(name, self.known(), self.around())

    def around(self) -> Known:
        """Return what a name without a value may mean."""
        cards = self.connection._datasets.values() if self.connection is not None else ()
        columns = frozenset(column.name for card in cards for column in card.facts.columns)
        return Known(frozenset(card.facts.name for card in cards), columns, self.outside)

    def _fixed(self) -> dict[str, Any]:
        types = constructors()
        return {
            "pl": polars_module(),
            "cs": selectors_module(),
            "nn": layers_module(),
            "optim": optimizers_module(),
            "RemoteLearner": SafeFunction("RemoteLearner", self.learner),
            "RemoteDataset": SafeFunction("RemoteDataset", made_dataset),
            "train_test_split": SafeFunction("train_test_split", train_test_split),
            "RemoteTokenizer": tokenizers(),
            "runs": SafeFunction("runs", self.runs),
            **builtins(),
            **{name: types[name] for name in ("date", "datetime", "timedelta")},
            "connection": None,
            "connect": SafeFunction("connect", self.connect),
            "datasets": SafeFunction("datasets", self.datasets),
            "dataset": SafeFunction("dataset", self.dataset),
            "sql": SafeFunction("sql", self.sql),
            "upload": SafeFunction("upload", self.upload),
            "requests": SafeFunction("requests", self.requests),
            "budget": SafeFunction("budget", self.budget),
            "attestation": SafeFunction("attestation", self.attestation),
            "summarize": SafeFunction("summarize", self.summarize),
            "concat": SafeFunction("concat", concat),
            "display": SafeFunction("display", self.display),
            "print": SafeFunction("print", self.print, metered=True),
            "help": SafeFunction("help", self.help),
        }

    # ---- functions of the language -----------------------------------------------------------------------------------

    def require_connection(self) -> Connection:
        """Return the connection.

        Raises:
            InputError: there is none.
        """
        if self.connection is None:
            msg = "There is no connection yet."
            raise InputError(msg, code="input.not-connected", next_step=self.how_to_connect)
        return self.connection

    async def connect(self, endpoint: str | None = None, identity: str | None = None) -> Connection:
        """Connect to a server: with the token of an invitation, an endpoint, or the saved profile.

        A connection that is there already, to the same server as the same identity, stays, and the frames made with it.
        """
        wish, old = wish_of(endpoint, identity), self.connection
        if old is not None and await serves(old, self._wish, wish):
            return old
        self.connection = await self._connected(endpoint, identity)
        self._wish = wish
        if old is not None:
            old.replaced = True
            await old.close()
        if self.on_connect is not None:
            self.on_connect(self.connection)
        return self.connection

    async def _connected(self, endpoint: str | None, identity: str | None) -> Connection:
        """Open a connection, asking for a passphrase where one is needed.

        INVARIANT: a passphrase is typed at a prompt, never in a cell: it is in no history, no notebook and no variable.
        """
        try:
            return await self.connector(endpoint, identity)
        except InputError as error:
            if error.code != "input.passphrase" or self.ask_passphrase is None:
                raise
            prompt = passphrase_prompt(error)
        return await self.connector(endpoint, identity, passphrase=await self.ask_passphrase(prompt))

    async def datasets(self) -> list[RemoteLazyFrame]:
        """The datasets one may see."""
        return await self.require_connection().datasets()  # type: ignore[no-any-return]

    async def dataset(self, name: str) -> RemoteLazyFrame:
        """A dataset by its name or id, as a frame."""
        return await self.require_connection().dataset(name)  # type: ignore[no-any-return]

    async def sql(self, query: str, *placed: Any, **frames: Any) -> RemoteLazyFrame:
        """The frame of an SQL query over datasets by name, frames given by keyword, and one frame for each `{}`."""
        return await self.require_connection().sql(query, *placed, **frames)  # type: ignore[no-any-return]

    async def upload(
        self, data: Any, name: str | None = None, policy: str | None = None, unit: str | None = None, hidden: Any = ()
    ) -> RemoteLazyFrame:
        """Upload a small table, a dict of lists, as a dataset of one's own."""
        import polars as pl

        if isinstance(data, dict):
            try:
                data = pl.DataFrame(data)
            except (TypeError, ValueError, pl.exceptions.PolarsError):
                msg = "The columns of the table do not fit together."
                raise InputError(
                    msg, code="input.table", next_step="Give lists of equal length, each of one type."
                ) from None
        if policy is not None and not isinstance(policy, str):
            msg = "A policy is given as TOML text here."
            raise InputError(msg, code="input.policy")
        client = self.require_connection().client.polars
        return await client.send_df(data, policy, tuple(hidden), name=name, unit=unit)  # type: ignore[no-any-return]

    async def requests(self, *states: str) -> Any:
        """Access requests and their states."""
        return await self.require_connection().requests(*states)

    def attestation(self) -> Any:
        """Whether the server has proved what it is: a card, with the raw claims one click away."""
        return self.require_connection().attestation

    async def budget(self) -> Any:
        """Privacy budgets of the datasets one may see: what was spent of them and what is left."""
        return await self.require_connection().budget()

    async def runs(self) -> Any:
        """What was trained: each fit with its settings and what it cost."""
        return await self.require_connection().runs()

    def learner(
        self,
        model: Any,
        dataset: Any,
        loss: str = "cross_entropy",
        optimizer: Any = None,
        scheduler: Any = None,
        max_batch_size: int = 64,
        max_grad_norm: float = 1.0,
        metric: str | None = None,
        rows_per_unit: int = 1,
        seed: int | None = None,
        device: str = "cpu",
        loss_bound: float = 10.0,
    ) -> Any:
        """A model that learns beside the data: `fit` trains, `test` measures, `get_model` takes home.

        Args:
            model: layers, as nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2)).
            dataset: frame.to_dataset(inputs=["a", "b"], label="y").split(test=0.2).train
            loss: cross_entropy, bce, l2 or l1. optimizer: optim.Adam(lr=0.001), optim.AdamW, optim.SGD.
            scheduler: optim.StepLR, optim.CosineLR … max_batch_size: people in a step.
            max_grad_norm: to which each person's gradient is bounded. metric: that `test` measures.
            rows_per_unit: of one person, so many rows count. seed: of the first weights.
        """
        return self.require_connection().client.torch.RemoteLearner(
            model, dataset, loss, optimizer, scheduler=scheduler, max_batch_size=max_batch_size, max_grad_norm=max_grad_norm,
            metric=metric, rows_per_unit=rows_per_unit, seed=seed, device=device, loss_bound=loss_bound,
        )  # fmt: skip

    async def summarize(self, frame: Any, epsilon: float | None = None) -> Any:
        """What the answer to a query would cost with noise, and how exact it would be; nothing is spent."""
        if not isinstance(frame, RemoteLazyFrame):
            msg = "summarize takes a frame of the server."
            raise InputError(msg, code="input.frame", next_step="Write summarize(titanic.select(pl.len())).")
        return await frame.summarize(epsilon)

    def display(self, *values: Any) -> None:
        """Show values in the middle of a cell."""
        for value in values:
            if not self.output.display():
                continue
            if isinstance(value, str):
                value = value[: self.limits.printed]
            self.displayed.append(value)
            if self.on_display is not None:
                self.on_display(value)

    def print(self, meter: Any, *values: Any, sep: str = " ", end: str = "\n") -> None:
        """Show values as text."""
        from bastion.language.texts import text_of

        parts = [text_of(v, meter) for v in values]
        text = (sep if isinstance(sep, str) else " ").join(parts) + (end if isinstance(end, str) else "\n")
        meter.characters(len(text))
        text = self.output.text(safe_text(text, lines=True))
        if not text:
            return
        self.printed.append(text)
        if self.on_print is not None:
            self.on_print(text)

    def help(self, value: Any = None) -> None:
        """Say what something is and does; without an argument, what the language offers."""
        from bastion.language.inspection import describe_value, overview

        text = overview(self) if value is None else describe_value(value, detailed=True)
        self.display(text)

    def whoami(self) -> str:
        """Return who and where one is, as text."""
        connection = self.require_connection()
        return safe_text(f"{connection.identity} ({', '.join(connection.roles)}) on {connection.endpoint}")


def polars_module() -> Module:
    """Return the `pl` of cells."""

    def absent(name: str) -> None:
        if name in PYTHON_METHODS:
            refuse_python(f"pl.{name}")
        hint = expressions._NOT_HERE.get(name)
        if hint:
            msg = f"pl.{name} is not part of the language."
            raise InputError(msg, code="plan.bind.member", next_step=hint)

    entries: dict[str, Any] = {name: SafeFunction(f"pl.{name}", call) for name, call in expressions.FUNCTIONS.items()}
    entries |= expressions.DTYPES
    entries["selectors"] = selectors_module()
    entries["concat"] = SafeFunction("pl.concat", concat)
    return Module(
        "pl", entries, doc="Polars' expressions; results stay on the server until they may leave.", absent=absent
    )


def selectors_module() -> Module:
    """Return the `cs` of cells."""
    entries = {name: SafeFunction(f"cs.{name}", getattr(selectors, name)) for name in selectors.NAMES}
    return Module("cs", entries, doc="Columns by name, type or pattern.")


def layers_module() -> Module:
    """Return the `nn` of cells: layers, from their table."""
    entries = {name: SafeFunction(f"nn.{name}", layers.maker(kind)) for name, kind in layers.LAYERS.items()}
    return Module("nn", entries, doc="Layers of models, as torch has them.", absent=layers.absent)


def optimizers_module() -> Module:
    """Return the `optim` of cells: optimisers and schedules."""
    entries = {name: SafeFunction(f"optim.{name}", call) for name, call in {**OPTIMIZERS, **SCHEDULES}.items()}
    return Module("optim", entries, doc="Optimisers and schedules of learning rates, as torch has them.")


def made_dataset(inputs: Any, labels: Any) -> RemoteDataset:
    """A dataset of remote tensors, as BastionLab made it; `frame.to_dataset` is shorter.

    Args:
        inputs: tensors, one per input of the model. labels: a tensor.
    """
    return RemoteDataset(inputs, labels)


def tokenizers() -> SafeFunction:
    """Return the `RemoteTokenizer` of cells: made of a vocabulary, of a file beside the notebook, or by a hash."""
    members = {
        "from_file": SafeFunction("RemoteTokenizer.from_file", tokenizer_from_file, metered=True),
        "hashed": SafeFunction("RemoteTokenizer.hashed", RemoteTokenizer.hashed),
    }
    return SafeFunction("RemoteTokenizer", RemoteTokenizer, members=members)


def torch_module() -> Module:
    """Return the `torch` of `from torch import nn, optim`."""
    return Module("torch", {"nn": layers_module(), "optim": optimizers_module()})


def datetime_module() -> Module:
    """Return the `datetime` of `import datetime`."""
    return Module("datetime", constructors(), doc="Dates and times.")


def bastion_module() -> Module:
    """Return the `bastion` of `import bastion`."""
    return Module(
        "bastion", {"pl": polars_module(), "selectors": selectors_module(), "concat": SafeFunction("concat", concat)}
    )
