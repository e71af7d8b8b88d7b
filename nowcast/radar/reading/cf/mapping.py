"""The projection of a dataset, from all attributes used by CF and related conventions (CF 5.6,
appendix F).
"""

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nowcast.radar.placing.georeference import (
    ELLIPSOID,
    grid_mapping_from_crs,
    refuse_named_files,
    with_pole,
)

if TYPE_CHECKING:
    import pyproj

log = logging.getLogger(__name__)

_TEXTS = ("crs_wkt", "spatial_ref", "esri_pe_string")
_WKT = re.compile(
    r"\s*(PROJCS|GEOGCS|COMPD_CS|PROJCRS|PROJECTEDCRS|GEOGCRS|GEODCRS|GEOGRAPHICCRS|COMPOUNDCRS|BOUNDCRS)\s*\["
)
_EPSG = re.compile(r"\s*(?:(?:urn:ogc:def:crs:)?EPSG:{1,2})?(\d{4,6})\s*", re.IGNORECASE)
# without the attributes of a bounding box
_CODES = ("crs", "epsg", "epsg_code", "spatial_epsg", "srid", "projection", *_TEXTS)
_WRONG = (KeyError, ValueError, TypeError, IndexError, AttributeError)


def grid_mapping_of(
    file: xr.Dataset, field: xr.DataArray, axes: set[str], where: str
) -> xr.Variable | None:
    """Return the CF grid mapping of `field`, with axes of these names; None if there is none.

    `unit_of` returns the unit of x and y. An unknown projection is logged, and None is returned.
    Errors: DataError if it names a file.
    """
    name = _name_of(file, field, axes)
    own = dict(file.variables[name].attrs) if name in file.variables else {}
    for attrs in (own, dict(field.attrs), dict(file.attrs)):
        found = _from_attrs(attrs, where)
        if found is not None or "grid_mapping_name" in attrs:
            return found
    return None


def unit_of(mapping: xr.Variable | None) -> float | None:
    """Return the metres per unit of x and y of a mapping given as text; None for one given by CF
    attributes, for which x and y state their unit.
    """
    return None if mapping is None else mapping.encoding.get("unit")


def _name_of(file: xr.Dataset, field: xr.DataArray, axes: set[str]) -> str:
    """Return the name in `grid_mapping = "crs"`, or from "crs: x y other: lat lon" the one for
    these axes; else the only mapping of the file; else ''.
    """
    said = str(field.attrs.get("grid_mapping", "")).strip()
    if ":" in said:
        parts = [part.split() for part in re.split(r"\s+(?=\S+:)", said.replace(" :", ":"))]
        return next((part[0] for part in parts if axes <= set(part[1:])), parts[0][0]).rstrip(":")
    if said in file.variables:
        return said
    lone = [str(name) for name, variable in file.variables.items() if _states_mapping(variable)]
    return lone[0] if len(lone) == 1 else said


def _states_mapping(variable: xr.Variable) -> bool:
    return variable.ndim == 0 and any(
        key in variable.attrs for key in ("grid_mapping_name", *_TEXTS)
    )


def _from_attrs(attrs: dict[str, Any], where: str) -> xr.Variable | None:
    """Return the mapping from CF attributes, which have priority, else from a text in WKT, PROJ or
    EPSG.
    """
    text = _text_of(attrs)
    refuse_named_files(text, where)
    if "grid_mapping_name" not in attrs:
        if not text:
            return None
        return _from_text(text, where)
    plain = {
        str(key): value
        for key, value in attrs.items()
        if isinstance(value, str) or np.asarray(value).dtype.kind in "iuf"
    }
    if "horizontal_datum_name" in plain:
        # spelled OSGB_1936 in WKT 1
        plain["horizontal_datum_name"] = str(plain["horizontal_datum_name"]).replace("_", " ")
    filled = with_pole(_filled(plain, text))
    problem = _problem(_frozen(filled))
    if problem:
        log.warning(
            "%s: its grid mapping %r %s; the grid will have none.",
            where,
            str(attrs["grid_mapping_name"]),
            problem,
        )
        return None
    return xr.Variable((), np.int32(0), filled)


def _text_of(attrs: dict[str, Any]) -> str:
    """Return the first attribute that is WKT, a PROJ text or an EPSG code; '' if there is none."""
    texts = {str(key): value for key, value in attrs.items() if isinstance(value, str)}
    for text in (*(texts[key] for key in _TEXTS if key in texts), *texts.values()):
        if _WKT.match(text) or "+proj=" in text:
            return text
    codes = [
        str(np.ravel(value)[0])
        for key, value in attrs.items()
        if str(key).lower() in _CODES and np.size(value) == 1
    ]
    return next((f"EPSG:{found[1]}" for code in codes if (found := _EPSG.fullmatch(code))), "")


def _from_text(text: str, where: str) -> xr.Variable | None:
    crs = _crs_of(text)
    if crs is None:
        log.warning("%s: unknown projection %r; the grid will have none.", where, text)
        return None
    mapping = grid_mapping_from_crs(crs, text, where)
    if mapping is not None and crs.is_projected:
        mapping.encoding["unit"] = crs.axis_info[0].unit_conversion_factor
    return mapping


def _filled(attrs: dict[str, Any], text: str) -> dict[str, Any]:
    """Return CF attributes completed from the WKT; a WKT that contradicts them is dropped."""
    crs = _crs_of(text) if _WKT.match(text) else None
    stated = (
        {}
        if crs is None
        else {
            key: value
            for key, value in crs.to_cf().items()
            if value not in (None, "unknown", "undefined")
        }
    )
    if stated.get("grid_mapping_name") == attrs["grid_mapping_name"]:
        both = [key for key in stated if key in attrs and not isinstance(stated[key], str)]
        if all(
            np.shape(stated[key]) == np.shape(attrs[key])
            and np.allclose(stated[key], attrs[key], rtol=1e-6)
            for key in both
        ):
            own = any(key in attrs for key in ELLIPSOID)
            more = {
                key: value
                for key, value in stated.items()
                if key not in attrs and not (own and key in ELLIPSOID)
            }
            return {
                **attrs,
                **{key: value for key, value in more.items() if _says_more(key, value)},
            }
    return {key: value for key, value in attrs.items() if key not in _TEXTS} if stated else attrs


def _frozen(attrs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (key, np.asarray(value).item() if np.ndim(value) == 0 else tuple(np.ravel(value).tolist()))
        for key, value in attrs.items()
    )


def _says_more(key: str, value: Any) -> bool:
    """Return whether an attribute from WKT matters for the location of pixels: it is not a default,
    or describes the figure of the Earth.
    """
    return key in ELLIPSOID or (not isinstance(value, str) and value != 0.0)


@lru_cache(maxsize=64)
def _problem(attrs: tuple[tuple[str, Any], ...]) -> str:
    """Return why no projection can be made from a mapping, or ''."""
    import pyproj

    try:
        pyproj.CRS.from_cf(
            {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in attrs
                if key not in _TEXTS
            }
        )
    except KeyError as error:
        return f"lacks {error.args[0]!r}"
    except pyproj.exceptions.CRSError as error:
        return (
            "is unknown"
            if "Unsupported" in str(error)
            else "has attributes that make no projection"
        )
    except _WRONG:
        return "has attributes that make no projection"
    return ""


@lru_cache(maxsize=16)
def _crs_of(text: str) -> "pyproj.CRS | None":
    """WKT, a PROJ text or an EPSG code → its horizontal part; None if it cannot be parsed."""
    import pyproj

    try:
        code = _EPSG.fullmatch(text)
        if code:
            crs = pyproj.CRS.from_epsg(int(code[1]))
        else:
            crs = (
                pyproj.CRS.from_proj4(text.strip())
                if "+proj=" in text
                else pyproj.CRS.from_wkt(text)
            )
    except (pyproj.exceptions.CRSError, *_WRONG):
        return None
    return _horizontal(crs)


def _horizontal(crs: "pyproj.CRS") -> "pyproj.CRS":
    """Return the horizontal part of a compound system, and a bound system without its
    transformation.
    """
    inner = crs.sub_crs_list[0] if crs.is_compound else crs.source_crs if crs.is_bound else None
    return crs.to_2d() if inner is None else _horizontal(inner)
