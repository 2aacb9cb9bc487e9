"""Coded values with Chinese text: what the simulated charts may say.

Source   SNOMED CT and ICD-10 (conditions, allergies), LOINC and UCUM (observations), ATC (medicines), HL7 terminology 4.0.1.
         Chinese laboratories report mmol/L, so the molar LOINC codes are used (14647-2 beside 2093-3 and so on).
"""

from typing import Any, Final, NamedTuple

LOINC: Final = "http://loinc.org"
SNOMED: Final = "http://snomed.info/sct"
ICD10: Final = "http://hl7.org/fhir/sid/icd-10"
ATC: Final = "http://www.whocc.no/atc"
UCUM: Final = "http://unitsofmeasure.org"
TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem"


class Problem(NamedTuple):
    """A condition: SNOMED CT, ICD-10, text."""

    snomed: str
    icd10: str
    text: str


class Medicine(NamedTuple):
    """A medicine: ATC, text, dose text, doses a day."""

    atc: str
    text: str
    dose: str
    a_day: int


class Measure(NamedTuple):
    """An observation: LOINC, text, UCUM unit, decimals, observation category."""

    loinc: str
    text: str
    unit: str
    decimals: int
    category: str


HYPERTENSION = Problem("59621000", "I10", "原发性高血压")
DIABETES = Problem("44054006", "E11.9", "2型糖尿病")
DYSLIPIDAEMIA = Problem("370992007", "E78.5", "血脂异常")
CORONARY = Problem("53741008", "I25.1", "冠状动脉粥样硬化性心脏病")
STROKE = Problem("432504007", "I63.9", "脑梗死")
ASTHMA = Problem("195967001", "J45.9", "支气管哮喘")
COPD = Problem("13645005", "J44.9", "慢性阻塞性肺疾病")
GASTRITIS = Problem("8493009", "K29.5", "慢性胃炎")
HYPOTHYROID = Problem("40930008", "E03.9", "甲状腺功能减退症")
GOUT = Problem("90560007", "M10.9", "痛风")
OSTEOPOROSIS = Problem("64859006", "M81.9", "骨质疏松症")
COLD = Problem("54150009", "J06.9", "急性上呼吸道感染")

# What is usually given for what; where several, one is drawn.
TREATMENT: Final[dict[Problem, tuple[Medicine, ...]]] = {
    HYPERTENSION: (
        Medicine("C09AA02", "马来酸依那普利片", "10 mg 每日1次 口服", 1),
        Medicine("C08CA01", "苯磺酸氨氯地平片", "5 mg 每日1次 口服", 1),
        Medicine("C09CA03", "缬沙坦胶囊", "80 mg 每日1次 口服", 1),
    ),
    DIABETES: (
        Medicine("A10BA02", "盐酸二甲双胍片", "0.5 g 每日2次 餐中口服", 2),
        Medicine("A10BB12", "格列美脲片", "2 mg 每日1次 早餐前口服", 1),
    ),
    DYSLIPIDAEMIA: (
        Medicine("C10AA05", "阿托伐他汀钙片", "20 mg 每晚1次 口服", 1),
        Medicine("C10AA07", "瑞舒伐他汀钙片", "10 mg 每晚1次 口服", 1),
    ),
    CORONARY: (Medicine("B01AC06", "阿司匹林肠溶片", "100 mg 每日1次 口服", 1),),
    STROKE: (Medicine("B01AC04", "硫酸氢氯吡格雷片", "75 mg 每日1次 口服", 1),),
    ASTHMA: (Medicine("R03AK07", "布地奈德福莫特罗吸入粉雾剂", "1吸 每日2次", 2),),
    COPD: (Medicine("R03BB04", "噻托溴铵粉吸入剂", "18 ug 每日1次 吸入", 1),),
    GASTRITIS: (Medicine("A02BC01", "奥美拉唑肠溶胶囊", "20 mg 每日1次 早餐前口服", 1),),
    HYPOTHYROID: (Medicine("H03AA01", "左甲状腺素钠片", "50 ug 每日1次 空腹口服", 1),),
    GOUT: (Medicine("M04AA03", "非布司他片", "40 mg 每日1次 口服", 1),),
    OSTEOPOROSIS: (Medicine("M05BA04", "阿仑膦酸钠片", "70 mg 每周1次 晨起口服", 1),),
    COLD: (Medicine("N02BE01", "对乙酰氨基酚片", "0.5 g 发热时口服", 1),),
}

# (SNOMED CT code, text, AllergyIntolerance category, reaction)
ALLERGIES: Final = (
    ("91936005", "青霉素过敏", "medication", "皮疹"),
    ("91939003", "磺胺类药物过敏", "medication", "荨麻疹"),
    ("91935009", "花生过敏", "food", "口唇肿胀"),
    ("91937001", "海鲜过敏", "food", "荨麻疹"),
    ("300910009", "花粉过敏", "environment", "鼻炎"),
)

VITAL, LABORATORY, SOCIAL = "vital-signs", "laboratory", "social-history"
SBP = Measure("8480-6", "收缩压", "mm[Hg]", 0, VITAL)
DBP = Measure("8462-4", "舒张压", "mm[Hg]", 0, VITAL)
HEART_RATE = Measure("8867-4", "心率", "/min", 0, VITAL)
HEIGHT = Measure("8302-2", "身高", "cm", 0, VITAL)
WEIGHT = Measure("29463-7", "体重", "kg", 1, VITAL)
BMI = Measure("39156-5", "体重指数", "kg/m2", 1, VITAL)
TEMPERATURE = Measure("8310-5", "体温", "Cel", 1, VITAL)
TOTAL = Measure("14647-2", "总胆固醇", "mmol/L", 2, LABORATORY)
HDL = Measure("14646-4", "高密度脂蛋白胆固醇", "mmol/L", 2, LABORATORY)
LDL = Measure("22748-8", "低密度脂蛋白胆固醇", "mmol/L", 2, LABORATORY)
TRIGLYCERIDES = Measure("14927-8", "甘油三酯", "mmol/L", 2, LABORATORY)
GLUCOSE = Measure("14771-0", "空腹血糖", "mmol/L", 1, LABORATORY)
HBA1C = Measure("4548-4", "糖化血红蛋白", "%", 1, LABORATORY)
POTASSIUM = Measure("2823-3", "血清钾", "mmol/L", 1, LABORATORY)
CREATININE = Measure("14682-9", "血清肌酐", "umol/L", 0, LABORATORY)
LIPIDS: Final = (TOTAL, HDL, LDL, TRIGLYCERIDES)
LIPID_PANEL: Final = ("24331-1", "血脂四项")
PRESSURE_PANEL: Final = ("85354-9", "血压")
SMOKING: Final = ("72166-2", "吸烟状况")
SMOKING_STATUS: Final = {True: ("449868002", "每日吸烟"), False: ("266919005", "从不吸烟")}


def concept(text: str, *codings: tuple[str, str]) -> dict[str, Any]:
    """Return a CodeableConcept of (system, code) pairs; the text stands as display of each."""
    return {"coding": [{"system": system, "code": code, "display": text} for system, code in codings], "text": text}


def quantity(measure: Measure, value: float) -> dict[str, Any]:
    """Return a Quantity rounded to the decimals a laboratory prints."""
    shown = round(value, measure.decimals) if measure.decimals else round(value)
    return {"value": shown, "unit": measure.unit, "system": UCUM, "code": measure.unit}
