"""Whatever is sent in whatever order: the short way answers what the long way answers, byte for byte."""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from tests.unit.serving.test_serving_lane import Host, http

FRAMES = (
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s}]}',
    '{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"INT16","data":%s}],"outputs":[{"name":"sum"}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data": [1,2],"parameters":{"data":%s}}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2],"data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data": [1,2]}],"more":{"data":%s}}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s,"data": [1,2]}]}',
    '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": %s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","d\\u0061ta": [1,2]}],"more":{"data":%s}}',
    '{"inputs":[{"name":"x","data":7,"shape":%s,"datatype":"FP32"}]}',
    '{"id":"a","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s}],"parameters":{"binary_data_output":false}}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s}],"outputs":[{"name":"word"},{"name":"sum"}]}',
    '{"inputs":[{"name":"\\"data\\":[","shape":[1,2],"datatype":"FP32","data":%s}]}',
    '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":%s}]',
)
VALUES = [
    "1",
    "2.5",
    "-0",
    "3e38",
    "1e39",
    "1e400",
    "null",
    "true",
    '"a"',
    '"]"',
    "[1]",
    "",
    " 7 ",
    "NaN",
    "-1",
    "9" * 20,
]
DATA = st.just("[1,2]") | st.lists(st.sampled_from(VALUES), max_size=5).map(lambda values: f"[{','.join(values)}]")
BODIES = st.builds(lambda frame, data: (frame % data).encode(), st.sampled_from(FRAMES), DATA)


async def answers(turns: list[list[bytes]]) -> tuple[list[bytes], list[bytes]]:
    """By the short way where it takes them, and by the long way, which other spellings of the content type take."""
    host, other = Host(), Host()
    short = [answer for turn in turns for answer in await host.ask(*map(http, turn))]
    long = [
        answer
        for turn in turns
        for answer in await other.ask(*[http(body, "content-type: application/json; charset=utf-8") for body in turn])
    ]
    assert set(other.runtime.runs) <= {1, 2}, "the long way joins nothing here"
    return short, long


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(BODIES, min_size=1, max_size=6), min_size=1, max_size=6))
@example([[(frame % "[1,2]").encode()] for frame in FRAMES] + [[(frame % "[5,6]").encode()] for frame in FRAMES])
@example([[(FRAMES[0] % "[1,2]").encode()], [(FRAMES[0] % data).encode() for data in ("[3]", "[4,5,6]", "[7,8]")]])
def test_both_ways_say_the_same(turns: list[list[bytes]]) -> None:
    short, long = asyncio.run(answers(turns))
    assert short == long
