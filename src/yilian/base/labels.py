"""Every label that separates one use of a key or hash from another, in one place so that no two can be alike.

Source   design 02 "Nothing is ever concatenated": the input of every MAC, HKDF-info, commitment or off-ledger signature is
         `CBOR([label, network id, ...])`. A label's text is permanent.
"""

# wallet keys (HKDF-info)
REL = "rel"  # R_h: relationship key of a patient with one holder, generation g
SEAL = "seal"  # S_h: what is sealed to the patient by one holder
GRANT = "grant"  # control key of one grant
# a chart's log (HMAC)
MONTH = "month"  # t_m: what opens one month of a chart's tags
ENTRY = "entry"  # seed of pk_n
DETAIL = "detail"  # d: what keys the detail of one entry
OWN = "own"  # the holder's own staff's readings
# commitments (HMAC)
ACCESS = "access"  # AuditEvent
CONSENT = "consent"  # FHIR Consent
RECORD = "record"  # one version of a resource
REFERRAL = "referral"  # ServiceRequest and Task
RESPONSE = "response"  # body of a release, salted
REQUEST = "request"  # a request, salted
SUSPENSION = "suspension"  # why a regulator suspended a member
# ledger
TAG = "tag"  # SHA-256 of a grant's n-th entry
# off-ledger signatures
READ = "read"  # a practitioner asks to read
INTENT = "intent"  # a practitioner's own act other than reading (a referral, an answer to one)
PRESENCE = "presence"  # a patient is here
CHALLENGE = "challenge"  # Q: what the desk shows
ENROL = "enrol"  # a wallet shows that it holds R_h
RELATIONSHIP = "relationship"  # a holder says which R_h it keeps
GRANT_KEY = "grant-key"  # a member's one-time key for one grant
CONSENT_SIGNED = "consent-signed"  # a patient signs the received bytes of a Consent
STATE_ANSWER = "state-answer"  # a member says what the state holds at a key
HEAD = "head"  # a holder says where a chart's log ends
REVOKED = "revoked"  # a patient tells a holder of a revocation
OWN_READING = "own-reading"  # a patient asks to read what a holder keeps
LOG = "log"  # a patient asks a holder for the chart's log
INBOX = "inbox"  # a member hands another a message of a referral
RECEIVED = "received"  # a member says that it has such a message
TOKEN_KEY = "token-key"  # noqa: S105 - a label; a member's node key says which key signs its client assertions and access tokens
# what is sealed (HPKE info)
MEMO = "memo"  # holder, requester and basis of an access, sealed to the regulator
ARTEFACTS = "artefacts"  # a grant's Consent, its k and the patient's signature, sealed to a member
CHART_KEY = "chart-key"  # K, sealed to S_h
MESSAGE = "message"  # what a referral's two sides send each other, sealed to a member
# member seed (HKDF-info)
MEMBER_GRANT_KEY = "member-grant-key"
MEMBER_DATA_KEY = "member-data-key"
MEMBER_ERASE_KEY = "member-erase-key"
MEMBER_NODE_KEY = "member-node-key"
MEMBER_RECEIPT_KEY = "member-receipt-key"
MEMBER_SEALING_SEED = "member-sealing-seed"
MEMBER_VAULT_KEY = "member-vault-key"  # what the member's key store is sealed under
