"""Where scenes play: which stuff fills which part of the picture and which things may be there, as data."""

# One row is one layer; broken lines would hide the columns.
# ruff: noqa: E501
from __future__ import annotations

import dataclasses
from typing import Literal

from repro.mini.catalogue import INDEX

Role = Literal["top", "bottom", "band", "far", "wedge", "strip", "wall", "hang", "air", "stand", "small"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """Something a scene draws: ``count`` (least, most) times, each time one of ``options`` (catalogue indices).

    Roles: ``top`` and ``bottom`` fill above and below the horizon; ``band`` is a ragged mass above it; ``far`` stands
    in a row on it; ``wedge`` runs from the lower edge to it; ``strip`` crosses the ground; ``wall`` hangs above it,
    ``hang`` from the upper edge, ``air`` floats; ``stand`` stands and ``small`` lies on the ground, nearer ones larger.
    """

    role: Role
    options: tuple[int, ...]
    count: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One kind of place. ``horizon`` is the range of its height as a fraction of the image, 0 at the top."""

    name: str
    weight: float
    horizon: tuple[float, float]
    layers: tuple[Layer, ...]


_TABLE = """
street 2 .35 .6
 top 1 1 sky-other
 far 1 3 building-other, building-other, skyscraper, house, tree
 band 0 1 building-other, tree, wall-brick
 bottom 1 1 road, road, pavement, gravel
 strip 0 1 pavement
 stand 0 1 fence, bush, tree
 stand 1 4 person, car, bus, truck, motorcycle, bicycle, van, bench, fire hydrant, stop sign, traffic light, streetlight, traffic cone, ashcan, dog, car, person
 air 0 1 flag
city 1.5 .4 .65
 top 1 1 sky-other
 far 2 4 skyscraper, building-other, skyscraper, ferris wheel
 bottom 1 1 pavement, road, court
 wedge 0 1 road, path
 stand 1 4 person, bicycle, car, bus, van, fountain, column, streetlight, traffic light, bench, potted plant, umbrella, escalator, flag
 small 0 2 backpack, ashcan, traffic cone, basket
 air 0 1 helicopter, airplane, hot-airballoon
pasture 2 .3 .6
 top 1 1 sky-other, sky-other
 band 0 1 tree, mountain
 bottom 1 1 grass, grass, field, dirt
 wedge 0 1 path, river, dirt
 stand 0 2 tree, bush, rock, fence, house, straw, flower
 stand 1 4 cow, horse, sheep, sheep, cow, horse, dog, person, tractor, windmill, rabbit
 air 0 1 bird, hot-airballoon, kite
farm 1 .3 .55
 top 1 1 sky-other
 band 0 1 tree
 bottom 1 1 field, vineyard, dirt
 wedge 0 1 path
 far 0 2 house, windmill, tree
 stand 1 3 tractor, horse, straw, fence, barrel, pumpkin, bush, truck, person, ladder
 small 0 2 pumpkin, basket, rabbit, barrel, bird
safari 1.5 .3 .6
 top 1 1 sky-other
 band 0 1 tree, mountain
 bottom 1 1 dirt, grass, sand, grass
 wedge 0 1 river, path
 stand 0 2 tree, rock, bush, palm
 stand 1 4 elephant, zebra, giraffe, bear, zebra, giraffe, elephant, camel
 air 0 1 bird
beach 1.5 .35 .6
 top 1 1 sky-other
 air 0 2 kite, bird, helicopter
 band 1 1 sea
 bottom 1 1 sand
 stand 0 2 palm, rock, beacon, tent
 stand 1 3 umbrella, person, surfboard, camel, boat, dog, person, ladder
 small 0 2 surfboard, bottle, basket, bird
sea 1.5 .25 .5
 top 1 1 sky-other
 air 0 2 bird, airplane
 band 0 1 mountain, cliff
 bottom 1 1 sea, lake, sea, river
 far 0 1 beacon, bridge
 stand 1 3 boat, boat, surfboard, rock, person
airport 1.5 .3 .55
 top 1 1 sky-other
 air 0 1 airplane, helicopter
 band 0 1 building-other, tree
 far 0 1 building-other
 bottom 1 1 runway, runway, grass
 wedge 0 1 runway
 stand 1 3 airplane, airplane, helicopter, bus, truck, traffic cone, van, person
snow 1.2 .3 .55
 top 1 1 sky-other
 band 1 1 mountain, tree, mountain
 bottom 1 1 snow
 wedge 0 1 path, river
 stand 0 3 tree, rock, house, fence
 stand 1 3 person, bear, dog, person, tent, rabbit
mountains 1.2 .35 .6
 top 1 1 sky-other
 far 1 3 mountain
 band 0 1 cliff, tree
 bottom 1 1 lake, grass, gravel, river
 stand 1 3 rock, tent, boat, bush, tree, bear, sheep, backpack, bridge
 air 0 1 hot-airballoon, bird, kite
railway 1.2 .35 .6
 top 1 1 sky-other
 band 0 1 tree, wall-brick, building-other
 far 0 2 house, building-other
 bottom 1 1 gravel, grass, dirt
 strip 1 1 railroad
 stand 1 2 train, train, fence, person, bridge, traffic light
 small 0 2 backpack, bench
park 1.5 .3 .55
 top 1 1 sky-other
 band 0 1 tree
 bottom 1 1 grass
 wedge 0 1 path, pavement, river
 stand 0 3 tree, bush, flower, flower, rock
 stand 1 4 person, dog, bicycle, bench, fountain, bird, streetlight, kite, bridge, tent
 small 0 2 basket, rabbit, bird, teddy bear, guitar
living room 2.2 .55 .75
 top 1 1 wall-concrete, wall-concrete, wall-wood, wall-brick
 bottom 1 1 floor-wood, carpet, floor-wood
 wall 0 3 window-other, curtain, painting, clock, mirror-stuff, shelf, door-stuff, painting
 hang 0 1 chandelier
 small 0 1 rug
 stand 1 4 couch, armchair, tv, potted plant, lamp, fireplace, piano, chair, dining table, shelf, cabinet
 small 0 3 cat, teddy bear, book, laptop, guitar, dog, basket
bedroom 1.5 .55 .75
 top 1 1 wall-concrete, wall-wood
 bottom 1 1 carpet, floor-wood
 wall 0 3 window-other, curtain, painting, mirror-stuff, door-stuff, clock
 stand 1 3 bed, bed, lamp, chair, cabinet, person
 small 0 3 rug, book, teddy bear, cat, laptop
kitchen 1.8 .5 .7
 top 1 1 wall-tile, wall-tile, wall-concrete
 bottom 1 1 floor-tile, floor-tile, floor-wood
 wall 0 2 window-other, cabinet, microwave, shelf, clock, cabinet
 stand 1 4 refrigerator, oven, stove, sink, dining table, washer, cabinet, chair
 small 1 4 bottle, cup, bowl, banana, apple, pizza, donut, cake, microwave, basket, book
bathroom 1.2 .5 .7
 top 1 1 wall-tile
 bottom 1 1 floor-tile, floor-tile, rug
 wall 0 2 mirror-stuff, window-other, shelf
 stand 1 3 toilet, sink, bathtub, washer, cabinet
 small 0 2 bottle, cup, rug, basket, potted plant
office 1.3 .5 .7
 top 1 1 wall-concrete, wall-brick
 bottom 1 1 carpet, floor-wood, floor-tile
 wall 0 3 window-other, clock, painting, shelf, door-stuff
 stand 1 4 swivel chair, dining table, cabinet, person, potted plant, lamp, shelf, swivel chair
 small 1 3 laptop, keyboard, book, cup, tv, backpack, bottle, ashcan
hall 1.3 .5 .7
 top 1 1 wall-concrete, wall-brick, wall-wood, ceiling-other
 bottom 1 1 floor-tile, floor-wood, carpet
 strip 0 1 carpet
 hang 0 2 chandelier
 stand 1 4 column, stairs, escalator, person, bench, pool table, column, piano
 wall 0 2 painting, door-stuff, window-other, flag
attic 1 .4 .6
 top 1 1 ceiling-other, wall-wood
 band 1 1 wall-brick, wall-wood, wall-concrete
 bottom 1 1 floor-wood, carpet
 wall 0 2 window-other, painting, clock
 stand 1 3 ladder, bed, armchair, barrel, cabinet, lamp
 small 0 3 teddy bear, book, guitar, basket, cat
table top 1.5 .3 .6
 top 1 1 wall-concrete, wall-tile, wall-wood, curtain
 bottom 1 1 floor-wood
 small 2 5 pizza, donut, cake, apple, banana, bowl, cup, bottle, laptop, keyboard, book, teddy bear, pumpkin, flower
court .8 .3 .5
 top 1 1 sky-other, grandstand, fence
 band 0 1 grandstand, tree
 bottom 1 1 court
 stand 1 3 person, person, bench, ladder, flag
 small 0 2 bottle, backpack
canyon .9 .4 .65
 top 1 1 cliff
 stand 1 1 waterfall
 bottom 1 1 lake, lake, path
 stand 0 2 palm, camel, ladder, rabbit
 air 0 1 hot-airballoon, helicopter
ice rink .8 .35 .55
 top 1 1 grandstand, tapestry
 bottom 1 1 ice rink
 air 0 2 flag
 stand 0 2 traffic cone, barrel, flag
swimming hall .8 .35 .55
 top 1 1 grandstand, wall-tile, tapestry, cliff
 bottom 1 1 swimming pool
 strip 0 1 path, floor-tile
 stand 1 3 column, palm, ladder, fountain, bathtub, person
theatre .8 .5 .7
 top 1 1 tapestry, tapestry, curtain
 bottom 1 1 stage
 hang 0 1 chandelier
 stand 1 3 piano, column, armchair, ladder
 small 1 2 guitar, basket
from above .8 .15 .4
 top 1 1 vineyard, field
 bottom 1 1 field, vineyard, path
 wedge 0 1 path
 strip 0 1 path, runway
 stand 1 3 tractor, windmill, van, helicopter, palm
"""


def _parse() -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    layers: list[Layer] = []
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            *name, weight, low, high = line.split()
            layers = []
            title = " ".join(name)
            settings[title] = Setting(title, float(weight), (float(low), float(high)), ())
            continue
        role, least, most, options = line.strip().split(" ", 3)
        layers.append(Layer(role, tuple(INDEX[o.strip()] for o in options.split(",")), (int(least), int(most))))  # type: ignore[arg-type]
        settings[title] = dataclasses.replace(settings[title], layers=tuple(layers))
    return settings


SETTINGS: dict[str, Setting] = _parse()
