"""Chinese names with their pinyin, put together by us from common knowledge, with rough weights. No list of real people."""

from random import Random
from typing import Final, NamedTuple

_SURNAMES: Final = """
王Wang72 李Li72 张Zhang68 刘Liu54 陈Chen45 杨Yang31 黄Huang22 赵Zhao21 吴Wu20 周Zhou19 徐Xu14 孙Sun15 马Ma13 朱Zhu12 胡Hu12 郭Guo11
何He11 林Lin11 高Gao10 罗Luo10 郑Zheng9 梁Liang9 谢Xie8 宋Song8 唐Tang7 许Xu7 韩Han7 邓Deng6 冯Feng6 曹Cao6 彭Peng6 曾Zeng6 肖Xiao6
田Tian5 董Dong5 潘Pan5 袁Yuan5 蔡Cai5 蒋Jiang5 余Yu5 于Yu5 杜Du4 叶Ye4 程Cheng4 魏Wei4 苏Su4 吕Lv4 丁Ding4 任Ren4 卢Lu4 姚Yao4 沈Shen4
钟Zhong3 姜Jiang3 崔Cui3 谭Tan3 陆Lu3 范Fan3 汪Wang3 廖Liao3 石Shi3 金Jin3 韦Wei3 贾Jia3 夏Xia3 付Fu3 方Fang3 邹Zou3 熊Xiong3 白Bai2
孟Meng2 秦Qin2 邱Qiu2 侯Hou2 江Jiang2 欧阳Ouyang1 上官Shangguan1
"""
_MEN: Final = """
建Jian9 国Guo9 伟Wei8 强Qiang7 军Jun7 明Ming8 志Zhi7 文Wen7 平Ping5 华Hua5 勇Yong5 杰Jie5 峰Feng5 刚Gang4 永Yong5 德De4 海Hai5 林Lin4
涛Tao4 辉Hui4 宏Hong4 斌Bin3 波Bo3 浩Hao4 宇Yu4 俊Jun4 鹏Peng4 家Jia3 清Qing3 福Fu3 荣Rong3 祥Xiang3 学Xue3 东Dong4 春Chun2 庆Qing3
兴Xing3 立Li2 生Sheng4 龙Long3 栋Dong2 轩Xuan3 子Zi3
"""
_WOMEN: Final = """
秀Xiu8 英Ying8 兰Lan6 芳Fang7 丽Li8 敏Min6 静Jing6 红Hong5 玉Yu7 梅Mei5 霞Xia5 燕Yan5 艳Yan5 娟Juan5 玲Ling5 珍Zhen4 凤Feng5 桂Gui5
淑Shu5 萍Ping5 莉Li4 雪Xue4 琴Qin4 云Yun4 慧Hui4 婷Ting4 娜Na3 倩Qian3 琳Lin3 洁Jie3 颖Ying3 欣Xin3 佳Jia3 思Si3 雨Yu3 月Yue3 春Chun3
爱Ai2 莲Lian3 菊Ju2 素Su2 美Mei3 晓Xiao4
"""


class Name(NamedTuple):
    """A name in characters and in pinyin without tones; family name first in Chinese, as everywhere in this package."""

    family_zh: str
    given_zh: str
    family_pinyin: str
    given_pinyin: str

    @property
    def zh(self) -> str:
        """The whole name in characters."""
        return self.family_zh + self.given_zh


def _parse(text: str) -> tuple[tuple[tuple[str, str], ...], tuple[int, ...]]:
    rows, weights = [], []
    for word in text.split():
        zh = "".join(sign for sign in word if not sign.isascii())
        rows.append((zh, "".join(sign for sign in word if sign.isascii() and sign.isalpha())))
        weights.append(int("".join(sign for sign in word if sign.isdigit())))
    return tuple(rows), tuple(weights)


_FAMILY: Final = _parse(_SURNAMES)
_GIVEN: Final = {"male": _parse(_MEN), "female": _parse(_WOMEN)}


def draw(rng: Random, sex: str) -> Name:
    """Return a name of one (one in seven) or two given characters, never the same character twice."""
    family_zh, family_pinyin = rng.choices(*_FAMILY)[0]
    signs, weights = _GIVEN[sex]
    first = rng.choices(signs, weights)[0]
    second = rng.choices(signs, weights)[0]
    given = (first,) if rng.randrange(7) == 0 or first[0] == second[0] else (first, second)
    return Name(family_zh, "".join(zh for zh, _ in given), family_pinyin, "".join(pinyin for _, pinyin in given).capitalize())
