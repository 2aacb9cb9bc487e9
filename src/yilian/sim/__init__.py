"""Floor 7: the simulated region, deterministic where it can be (people, charts, keys), and the story that is told in it.

Files    `members` who takes part; `population` whom they know; `founding` their folders and keys;
         `whereabouts` where a region runs; `traces` what would give a patient away.
"""
