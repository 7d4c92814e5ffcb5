"""Which rows are held out: by the value of a column, or a fraction by hashed key."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mawasu.errors import StepError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from mawasu.spec.feature import Holdout


def column_of(holdout: Holdout, row: str) -> tuple[str, str]:
    """The column the choice rests on, and its key below `holdout` in mawasu.yaml; the row id unless one is named."""
    if holdout.column is not None:
        return holdout.column, "holdout.column"
    return (holdout.key, "holdout.key") if holdout.key is not None else (row, "row")


def described(holdout: Holdout, row: str) -> str:
    column, _ = column_of(holdout, row)
    if holdout.column is not None:
        return f"{column} in {list(holdout.among)}"
    return f"{holdout.fraction:g} by {column}"


def held(holdout: Holdout, row: str, values: pa.ChunkedArray) -> NDArray[np.bool_]:
    """True for each row that is held out; `values` is the column that `column_of` names."""
    if holdout.column is not None:
        return _among(values, holdout.column, holdout.among)
    return _fraction(values, column_of(holdout, row)[0], holdout.fraction or 0.0)


def _among(values: pa.ChunkedArray, column: str, among: tuple[Any, ...]) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(values.type):
        return _as_numpy(pc.is_valid(values))
    wanted = []
    for value in among:
        try:
            wanted.append(pa.scalar(_text(value), pa.string()).cast(values.type))
        except pa.ArrowInvalid as error:
            example = next((str(one) for one in values[:100].to_pylist() if one is not None), "nothing")
            hint = f"the column holds {values.type}, such as {example}"
            raise StepError(f"holdout.in: {value!r} cannot be a value of column {column!r}", hint) from error
    return _as_numpy(pc.is_in(values, value_set=pa.array([one.as_py() for one in wanted], values.type)))


def _text(value: Any) -> str:
    """YAML's value as the text that every type of column can be read from."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _fraction(values: pa.ChunkedArray, column: str, fraction: float) -> NDArray[np.bool_]:
    """Held out are the keys whose sha256 (of their text in UTF-8; first 8 bytes, big-endian, over 2^64) is below
    `fraction`. It depends on nothing else: a row stays on its side when rows come, go or change their order, and a
    larger fraction keeps what a smaller one held out.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = values.null_count
    if missing:
        said = f"column {column!r}, by which the holdout is chosen, is empty in {missing:,} of {len(values):,} rows"
        raise StepError(said, "fill it, or name another column as holdout.key")
    coded = pc.dictionary_encode(values.cast(pa.string()).combine_chunks())
    limit = int(fraction * 2**64)
    chosen = [
        int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") < limit
        for text in coded.dictionary.to_pylist()
    ]
    result: NDArray[np.bool_] = np.array(chosen, dtype=np.bool_)[coded.indices.to_numpy()]
    return result


def _as_numpy(mask: pa.ChunkedArray) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = mask.to_numpy()
    return result
