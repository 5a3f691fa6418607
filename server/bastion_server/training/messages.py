"""What the server and a training worker say to each other, beside what every worker understands (bastion_server.workers.messages).

No torch here: the server's side imports it too.
"""

from __future__ import annotations

from bastion_plan.models.fits import FitSpec

from bastion_server.workers.messages import Message

# ---------------------------------------------------------------------------------------------- server -> child


class Load(Message, frozen=True, tag="load"):
    """Take a model and its rows. Comes with two descriptors: an Arrow IPC file of the rows, and the weights (safetensors).

    graph: bytes. The rows have a column `#~u` (whose row it is, any type), `#~o` (its place), and those of the spec.
    split_key: 32 bytes; who is for testing is a keyed hash of whose row it is, the share and the seed.
    memory: bytes that one pass may take. checkpoint: whether the weights are a checkpoint, with the optimiser's state and the step.
    sigma: of the noise of its steps, 0 where there will be none. most_rows: that there may be, a public number; 0: nobody has said.
    """

    graph: bytes
    spec: FitSpec
    split_key: bytes
    memory: int
    checkpoint: bool = False
    sigma: float = 0.0
    most_rows: int = 0


class Steps(Message, frozen=True, tag="steps"):
    """Do `count` steps of the optimiser. sigma: deviation of the noise in units of the bound; 0 where it is not private."""

    count: int
    sigma: float = 0.0


class Evaluate(Message, frozen=True, tag="evaluate"):
    """Measure a part of the rows. bound: to which a row's loss or error is clipped.

    deviation: of the noise on how many rows there are, which decides how long it takes; 0 where it is not private.
    """

    metric: str
    part: str
    bound: float
    deviation: float


class Save(Message, frozen=True, tag="save"):
    """Write into the descriptor that comes with this. checkpoint: with the optimiser's state and the step; else the weights alone."""

    checkpoint: bool


class Tight(Message, frozen=True, tag="tight"):
    """Work out the epsilon of steps by PRV accounting (Opacus)."""

    rate: float
    sigma: float
    steps: int
    delta: float


# ---------------------------------------------------------------------------------------------- child -> server


class Loaded(Message, frozen=True, tag="loaded"):
    """The model stands. people, rows: of the part that is trained on; for the server alone where it is private.

    memory: bytes that a pass of a step is planned to take; of model and description alone.
    """

    people: int
    rows: int
    step: int = 0
    memory: int = 0


class Stepped(Message, frozen=True, tag="stepped"):
    """Steps were done. step: done in all. loss: their mean, with noise where it is private; None where it is not a number.

    finite: whether all weights are numbers.
    """

    step: int
    loss: float | None = None
    finite: bool = True


class Evaluated(Message, frozen=True, tag="evaluated"):
    """Exact whole numbers, for the server alone. See metrics.py for what they are; sensitivity: L2, of one person."""

    counts: tuple[int, ...]
    sensitivity: float


class Worked(Message, frozen=True, tag="worked"):
    """A number that was worked out."""

    value: float


class Wrong(Message, frozen=True, tag="wrong"):
    """It cannot be done, and why is no secret: of the model, the description, or (not private) of a column. The worker lives on."""

    code: str
    message: str
    why: str = ""
    next_step: str = ""


ToTrainer = Load | Steps | Evaluate | Save | Tight
FromTrainer = Loaded | Stepped | Evaluated | Worked | Wrong
