from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from envfarm import ObservationError, pb
from envfarm.observations import KIND_NAMES, Observations, parse_spec, parse_specs


def test_every_kind_of_the_api_can_be_asked_for_by_its_name() -> None:
    for number, name in KIND_NAMES.items():
        assert parse_spec(name) == pb.ObservationSpec(kind=number)


def test_encoding_scale_and_quality_are_read() -> None:
    spec = parse_spec("screenshot:jpeg@0.5~70")
    assert (spec.kind, spec.encoding) == (pb.OBSERVATION_KIND_SCREENSHOT, pb.ENCODING_JPEG)
    assert (spec.scale, spec.quality) == (0.5, 70)
    assert parse_spec("screenshot@2").scale == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("screenshots", "unknown kind 'screenshots'"),
        ("screenshot:gif", "unknown encoding 'gif'"),
        ("axtree_txt@2", "only pictures"),
        ("axtree_txt~7", "only pictures"),
        ("screenshot@", "not of the form"),
        ("screenshot@-1", "not of the form"),
        ("", "not of the form"),
        ("Screenshot", "not of the form"),
    ],
)
def test_a_wrong_observation_is_refused_by_the_part_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_spec(text)


def test_a_kind_is_asked_for_once_and_never_as_one_string() -> None:
    with pytest.raises(ValueError, match="'screenshot' is asked for twice"):
        parse_specs(["screenshot", "url", "screenshot:jpeg"])
    with pytest.raises(ValueError, match="list of strings"):
        parse_specs("url")


def observations() -> Observations:
    picture = io.BytesIO()
    PIL.Image.new("RGBA", (4, 3), (255, 0, 0, 255)).save(picture, "PNG")
    return Observations(
        [
            pb.Observation(
                kind=pb.OBSERVATION_KIND_SCREENSHOT, encoding=pb.ENCODING_PNG, data=picture.getvalue(), content_hash=5
            ),
            pb.Observation(kind=pb.OBSERVATION_KIND_TABS, encoding=pb.ENCODING_JSON, data=b'{"active": 0, "tabs": []}'),
            pb.Observation(kind=pb.OBSERVATION_KIND_GOAL, encoding=pb.ENCODING_TEXT, data="wähle".encode()),
            pb.Observation(kind=pb.OBSERVATION_KIND_HTML, encoding=pb.ENCODING_TEXT, error="the page was gone"),
        ]
    )


def test_observations_decode_by_encoding() -> None:
    obs = observations()
    assert obs["screenshot"].shape == (3, 4, 3)
    assert obs["screenshot"].dtype == np.uint8
    assert obs["screenshot"][0, 0].tolist() == [255, 0, 0]
    assert obs["tabs"] == {"active": 0, "tabs": []}
    assert obs["goal"] == "wähle"
    assert obs.raw("goal") == "wähle".encode()
    assert obs.content_hash("screenshot") == 5
    assert list(obs) == ["screenshot", "tabs", "goal", "html"]


def test_an_observation_that_could_not_be_taken_says_why_and_leaves_the_others() -> None:
    obs = observations()
    assert obs.error("html") == "the page was gone"
    assert obs.error("goal") is None
    with pytest.raises(ObservationError, match="html: the page was gone"):
        obs["html"]
    with pytest.raises(KeyError):
        obs["url"]
