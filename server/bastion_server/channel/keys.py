"""The directory of keys that may speak to this server, read again whenever it changes.

    keys/owners/NAME.pub   keys/users/NAME.pub   keys/auditors/NAME.pub   keys/admins/NAME.pub   keys/invites/NAME.invite

Adding a file authorises, deleting it revokes. INVARIANT: a key counts only under exactly one name, and a name only with
one pair of keys; files that disagree authorise nobody.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bastion_plan.errors import BastionError, InputError, NotAuthorised, NotFound
from bastion_wire.files import write_new
from bastion_wire.identity import PublicIdentity, check_curve_key, check_name
from bastion_wire.invitation import Invitation

log = logging.getLogger("bastion.keys")

ROLES = {"owners": "owner", "users": "user", "auditors": "auditor", "admins": "admin"}
FOLDERS = {role: folder for folder, role in ROLES.items()}
_MAX_FILE = 4096
_MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """An authorised identity as of now. roles: sorted, of "owner", "user", "auditor", "admin"."""

    name: str
    roles: tuple[str, ...]
    curve_key: str
    verify_key: bytes

    def has(self, role: str) -> bool:
        """Whether this identity has a role."""
        return role in self.roles


@dataclass(frozen=True, slots=True)
class Guest:
    """An open invitation: who may enrol over the one-time key, in which role, until when (seconds since 1970)."""

    name: str
    role: str
    curve_key: str
    expires: float


class KeyDirectory:
    """Thread-safe view of a key directory; `refresh` brings it up to date."""

    CLAIM_SECONDS = 60.0  #: an enrolment that took longer has crashed

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        for folder in (*ROLES, "invites"):
            (self.root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._signature: object = None
        self._by_key: dict[str, Principal] = {}
        self._by_name: dict[str, Principal] = {}
        self._guests: dict[str, Guest] = {}
        self._recover()
        self.refresh()

    def refresh(self) -> bool:
        """Read the directory again if it changed; return whether it had.

        Raises:
            OSError: the directory cannot be listed; the former view stays.
        """
        with self._lock:
            listing = self._list()
            signature = tuple((folder, name, s) for folder, name, _, s in listing)
            if signature == self._signature:
                return False
            self._load([(folder, path) for folder, _, path, _ in listing])
            self._signature = signature
            return True

    def find(self, curve_key: str) -> Principal | None:
        """Return who has this CURVE key, or None."""
        return self._by_key.get(curve_key)

    def find_name(self, name: str) -> Principal | None:
        """Return the identity of this name, or None."""
        return self._by_name.get(name)

    def knows(self, name: str) -> bool:
        """Return whether this name has a key, or an invitation that can still be used."""
        with suppress(OSError):  # what was known before serves
            self.refresh()
        return name in self._by_name or any(guest.name == name for guest in self.guests())

    def principals(self) -> tuple[Principal, ...]:
        """Return all, by name."""
        return tuple(self._by_name[name] for name in sorted(self._by_name))

    def find_guest(self, curve_key: str) -> Guest | None:
        """Return the open invitation of this one-time key, or None (also once it has expired)."""
        guest = self._guests.get(curve_key)
        return guest if guest is not None and time.time() < guest.expires else None

    def guests(self) -> tuple[Guest, ...]:
        """Return all invitations that can still be used, by name."""
        now = time.time()
        return tuple(sorted((g for g in self._guests.values() if now < g.expires), key=lambda g: g.name))

    def add(self, public: PublicIdentity, role: str = "user") -> None:
        """Authorise an identity in a role.

        Raises:
            InputError: input.role; input.identity-exists, the name is taken there or has other keys elsewhere.
        """
        known = self._by_name.get(public.name)
        if known is not None and (known.curve_key, known.verify_key) != (public.curve_key, public.verify_key):
            raise _taken(public.name)
        other = self._by_key.get(public.curve_key)
        if other is not None and other.name != public.name:
            raise _taken(other.name)
        try:
            write_new(self._folder(role) / f"{public.name}.pub", public.to_text().encode(), mode=0o600)
        except FileExistsError:
            raise _taken(public.name) from None
        self.refresh()

    def revoke(self, name: str, role: str | None = None) -> None:
        """Take a name's key away (from one role, or altogether, open invitations included).

        Raises:
            NotFound: missing.key, there was none.
        """
        check_name(name)
        folders = [self._folder(role)] if role else [self.root / folder for folder in ROLES]
        paths = [folder / f"{name}.pub" for folder in folders]
        if role is None:
            paths.append(self.root / "invites" / f"{name}.invite")
        found = False
        for path in paths:
            if path.exists():
                path.unlink(missing_ok=True)
                found = True
        self.refresh()
        if not found:
            msg = f"There is no key of {name!r}."
            raise NotFound(msg, code="missing.key", next_step="`bastion keys list` shows all.")

    def invite(
        self, name: str, endpoint: str, server_key: str, *, role: str = "user", lifetime: float = 7 * 86400.0
    ) -> Invitation:
        """Open an invitation and return it (its token is shown once and stored nowhere). lifetime: seconds.

        Raises:
            InputError: input.identity-exists, the name is taken; input.invite-exists, an invitation is still open.
        """
        self._folder(role)
        if self._by_name.get(name) is not None:
            raise _taken(name)
        invitation = Invitation.create(endpoint, server_key, name, lifetime=lifetime)
        text = (
            f'name = "{name}"\nrole = "{role}"\ncurve_key = "{invitation.curve_key}"\n'
            f"expires = {int(invitation.expires)}\n"
        )
        path = self.root / "invites" / f"{name}.invite"
        open_one = next((g for g in self._guests.values() if g.name == name), None)
        if open_one is not None and open_one.expires <= time.time():
            path.unlink(missing_ok=True)
        try:
            write_new(path, text.encode(), mode=0o600)
        except FileExistsError:
            msg = f"There is already an open invitation for {name!r}."
            raise InputError(
                msg, code="input.invite-exists", next_step=f"Revoke it first: bastion keys revoke {name}"
            ) from None
        self.refresh()
        return invitation

    def enrol(self, guest_key: str, public: PublicIdentity) -> None:
        """Turn an open invitation into an authorised key. Of several that try, in any process, one succeeds.

        Raises:
            NotAuthorised: wire.auth.invite-used, not open any more; wire.auth.invite-name, for another name.
            InputError: input.identity-exists, the name or key is taken.
        """
        guest = self.find_guest(guest_key)
        if guest is None:
            raise _used()
        if public.name != guest.name:
            msg = f"The invitation is for {guest.name!r}."
            raise NotAuthorised(msg, code="wire.auth.invite-name", next_step="Create your identity under that name.")
        path = self.root / "invites" / f"{guest.name}.invite"
        claimed = path.with_suffix(".claimed")
        try:
            os.rename(path, claimed)  # the one step that only one can take
        except FileNotFoundError:
            raise _used() from None
        try:
            self.add(public, guest.role)
        except BaseException:
            os.rename(claimed, path)
            raise
        claimed.unlink(missing_ok=True)
        self.refresh()

    def _folder(self, role: str) -> Path:
        if role not in FOLDERS:
            msg = f"A role is one of {', '.join(FOLDERS)}."
            raise InputError(msg, code="input.role")
        return self.root / FOLDERS[role]

    def _recover(self) -> None:
        """Open again what a crash left half enrolled (some time ago: another process may be at it just now)."""
        for claimed in (self.root / "invites").glob("*.claimed"):
            with suppress(FileNotFoundError):
                if time.time() - claimed.stat().st_ctime > self.CLAIM_SECONDS:
                    self._reopen(claimed)

    def _reopen(self, claimed: Path) -> None:
        if any((self.root / folder / f"{claimed.stem}.pub").exists() for folder in ROLES):
            claimed.unlink(missing_ok=True)
        else:
            os.rename(claimed, claimed.with_suffix(".invite"))

    def _list(self) -> list[tuple[str, str, Path, tuple[int, ...]]]:
        listing: list[tuple[str, str, Path, tuple[int, ...]]] = []
        for folder, suffix in (*((f, ".pub") for f in ROLES), ("invites", ".invite")):
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    if not entry.name.endswith(suffix) or entry.name.startswith("."):
                        continue
                    try:
                        s = entry.stat()
                    except FileNotFoundError:
                        continue
                    listing.append(
                        (folder, entry.name, Path(entry.path), (s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino))
                    )
                    if len(listing) > _MAX_FILES:
                        raise OSError
        return sorted(listing)

    def _load(self, files: list[tuple[str, Path]]) -> None:
        roles: dict[PublicIdentity, set[str]] = {}
        guests: dict[str, Guest] = {}
        for folder, path in files:
            try:
                with path.open("rb") as file:
                    text = file.read(_MAX_FILE).decode()
                if folder == "invites":
                    guest = _guest(text)
                    guests[guest.curve_key] = guest
                    continue
                public = PublicIdentity.from_text(text)
                if public.name != path.stem:
                    raise ValueError
                roles.setdefault(public, set()).add(ROLES[folder])
            except (OSError, ValueError, KeyError, TypeError, BastionError):
                log.warning("%s/%s is not a key file of that name; it authorises nobody", folder, path.name)
        names: dict[str, list[PublicIdentity]] = {}
        keys: dict[str, list[PublicIdentity]] = {}
        for public in roles:
            names.setdefault(public.name.casefold(), []).append(public)
            keys.setdefault(public.curve_key, []).append(public)
        good = []
        for public, its in roles.items():
            if len(names[public.name.casefold()]) > 1 or len(keys[public.curve_key]) > 1:
                log.warning("the key files of %s contradict others; they authorise nobody", public.name)
            else:
                good.append(Principal(public.name, tuple(sorted(its)), public.curve_key, public.verify_key))
        self._by_key = {p.curve_key: p for p in good}
        self._by_name = {p.name: p for p in good}
        self._guests = {key: guest for key, guest in guests.items() if guest.name.casefold() not in names}


def _guest(text: str) -> Guest:
    fields = tomllib.loads(text)
    role, expires = fields["role"], fields["expires"]
    if role not in FOLDERS or type(expires) is not int:
        raise ValueError
    return Guest(check_name(fields["name"]), role, check_curve_key(fields["curve_key"]), float(expires))


def _taken(name: str) -> InputError:
    msg = f"There is already a key of {name!r}, or this key belongs to another name."
    return InputError(msg, code="input.identity-exists", next_step="Choose another name, or revoke that key first.")


def _used() -> NotAuthorised:
    msg = "The invitation has been used, has expired or was withdrawn."
    return NotAuthorised(msg, code="wire.auth.invite-used", next_step="Ask the owner for a new one.")
