"""Identities as BastionLab's scripts make them: by a path, kept beside the notebook, and shared as a hash of the key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from bastion_wire.identity import Identity as _Identity
from bastion_wire.identity import PublicIdentity, check_name


class _KeyName(str):
    """What `.pubkey.hash` gives. BastionLab's policies knew a user by a hash; ours by the name of the key."""

    __slots__ = ()

    def hex(self) -> str:
        """Return what `UserId` takes."""
        return str(self)


class PublicKey:
    """The public half of an identity: the file to hand out, and the id that `UserId` takes."""

    def __init__(self, public: PublicIdentity) -> None:
        self.public = public

    @property
    def hash(self) -> _KeyName:
        """`.hash.hex()` is the id that `UserId` takes."""
        return _KeyName(self.public.name)

    @property
    def pem(self) -> str:
        """The text of the file to hand out."""
        return self.public.to_text()

    def save_pem(self, path: str | os.PathLike[str]) -> None:
        """Write the file to hand out."""
        Path(path).write_text(self.pem, encoding="utf-8")

    @classmethod
    def from_pem(cls, path: str | os.PathLike[str]) -> PublicKey:
        """Read such a file."""
        return cls(PublicIdentity.load(path))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.public == self.public

    def __hash__(self) -> int:
        return hash(self.public)


class Identity(_Identity):
    """An identity with its secrets, made or read by the path of its file."""

    __slots__ = ()

    @classmethod
    def create(  # type: ignore[override]
        cls, name: str | os.PathLike[str] = "bastionlab-identity", directory: str | os.PathLike[str] | None = None
    ) -> Self:
        """Return the identity of a path without its ending: made, with its `.key` and `.pub` files, or read where it is."""
        folder, stem = _place(name, directory)
        if (folder / f"{stem}.key").exists():
            return cls.load(folder / f"{stem}.key")
        return super().create(stem, folder)  # type: ignore[return-value]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an identity: by the path of its `.key` file, or the one that `create` was given."""
        if not Path(path).is_file():
            folder, stem = _place(path, None)
            path = folder / f"{stem}.key"
        return super().load(path)  # type: ignore[return-value]

    from_pem = load
    from_pem_or_generate = create

    @classmethod
    def generate(cls) -> Self:
        """Make one that is kept nowhere."""
        return super().create("bastionlab-identity")  # type: ignore[return-value]

    def save_pem(self, path: str | os.PathLike[str]) -> Self:
        """Write its files beside a path; the names are those of the identity."""
        self.save(Path(path).parent)
        return self

    @property
    def pubkey(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.public)


#: BastionLab's other name for it
SigningKey = Identity


def _place(path: str | os.PathLike[str], directory: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """Return the folder and the name of the identity of a path such as "./data_owner.pem"."""
    given = Path(path)
    stem = given.stem if given.suffix in (".pem", ".key", ".pub") else given.name
    return Path(directory) if directory is not None else given.parent, check_name(stem)
