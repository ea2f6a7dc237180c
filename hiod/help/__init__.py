"""Plain data at hio's paths: records that become bytes, and a one-to-one book of names."""

from hiod.help.doming import IceMapDom, IceRawDom, MapDom, RawDom
from hiod.help.naming import Namer

__all__ = ["IceMapDom", "IceRawDom", "MapDom", "Namer", "RawDom"]
