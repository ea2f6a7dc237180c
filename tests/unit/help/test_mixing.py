import pytest

from hiod.help.mixing import Mixin


def test_a_keyword_nobody_takes_is_named():
    class Boss(Mixin):
        def __init__(self, *, name="boss", **kwa):
            self.name = name
            super().__init__(**kwa)

    assert Boss(name="a").name == "a"
    with pytest.raises(TypeError, match=r"Boss\(\) takes no keyword argument 'nmae', 'x'"):
        Boss(nmae="a", x=1)


def test_a_positional_argument_too_many_is_counted():
    with pytest.raises(TypeError, match="was given 2 positional"):
        Mixin(1, 2)
