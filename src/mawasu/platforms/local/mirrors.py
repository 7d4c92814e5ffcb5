"""Where this machine gets packages from (a company's mirror, a proxy, own certificates): kept true in the sandbox."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import unquote

import msgspec

# Settings of uv that say where packages come from (its "Environment variables"); the others are ours to choose.
_UV = re.compile(
    r"UV_(INDEX|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|OFFLINE|HTTP_|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|KEYRING_PROVIDER|CONFIG_FILE|REQUEST_TIMEOUT|CONCURRENT_|TORCH_BACKEND|EXCLUDE_NEWER).*"
)
_NETWORK = re.compile(r"SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|(?i:https?_proxy|all_proxy|no_proxy)")
# uv does not read pip's settings; a machine that is set up for pip alone shall do all the same.
_PIP = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
_LOCAL = re.compile(r"(?:^|[\s,='\"]|file://)(/[^\s,'\"]+)")
_SECRET = re.compile(r"://[^/@\s:]*:([^/@\s]+)@")


class Mirrors(msgspec.Struct, frozen=True):
    """`environ` for uv, `config` (the user's uv.toml, if any), local `paths` these speak of, and `secrets` in them."""

    environ: Mapping[str, str]
    config: Path | None
    paths: tuple[Path, ...]
    secrets: tuple[str, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings of a user's environment."""
        chosen = {name: value for name, value in environ.items() if _UV.fullmatch(name) or _NETWORK.fullmatch(name)}
        if not any(name.startswith(("UV_INDEX", "UV_DEFAULT_INDEX")) for name in chosen):
            chosen.update({uv: environ[pip] for pip, uv in _PIP.items() if environ.get(pip) and uv not in chosen})
        if "PIP_FIND_LINKS" in environ:
            chosen.setdefault("UV_FIND_LINKS", ",".join(environ["PIP_FIND_LINKS"].split()))
        base = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '/nonexistent')}/.config"
        config: Path | None = Path(chosen.pop("UV_CONFIG_FILE", f"{base}/uv/uv.toml"))
        texts = list(chosen.values())
        if config is not None and config.is_file():
            texts.append(config.read_text(errors="replace"))
        else:
            config = None
        found = {Path(unquote(match)) for text in texts for match in _LOCAL.findall(text)} | {Path("/etc/uv")}
        secrets = [unquote(value) for text in texts for value in _SECRET.findall(text)]
        secrets += [value for name, value in chosen.items() if name.endswith("_PASSWORD")]
        return cls(chosen, config, tuple(sorted(path for path in found if _new(path))), tuple(secrets))

    def copy_config(self, target: Path) -> None:
        """Put the user's uv.toml where XDG_CONFIG_HOME=`target` finds it (itself it may be its owner's only)."""
        (target / "uv").mkdir(parents=True)
        if self.config is not None:
            shutil.copyfile(self.config, target / "uv/uv.toml")


def _new(path: Path) -> bool:
    """Whether a path is there and the sandbox does not show it anyway."""
    shown = ("/usr", "/etc/ssl/certs", "/proc", "/dev")
    return path != Path("/") and path.exists() and not any(path.is_relative_to(one) for one in shown)
