from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SnapshotLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_LEVEL_UNSPECIFIED: _ClassVar[SnapshotLevel]
    SNAPSHOT_LEVEL_STORAGE: _ClassVar[SnapshotLevel]
    SNAPSHOT_LEVEL_REPLAY: _ClassVar[SnapshotLevel]

class SlotState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLOT_STATE_UNSPECIFIED: _ClassVar[SlotState]
    SLOT_STATE_EMPTY: _ClassVar[SlotState]
    SLOT_STATE_RUNNING: _ClassVar[SlotState]
    SLOT_STATE_OVER: _ClassVar[SlotState]
    SLOT_STATE_LOST: _ClassVar[SlotState]

class ResetMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESET_MODE_UNSPECIFIED: _ClassVar[ResetMode]
    RESET_MODE_FRESH: _ClassVar[ResetMode]
    RESET_MODE_IN_PLACE: _ClassVar[ResetMode]

class Dialect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIALECT_UNSPECIFIED: _ClassVar[Dialect]
    DIALECT_BROWSERGYM: _ClassVar[Dialect]
    DIALECT_WEBARENA: _ClassVar[Dialect]
    DIALECT_AUTOWEBGLM: _ClassVar[Dialect]
    DIALECT_WEBRL: _ClassVar[Dialect]

class TruncationCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUNCATION_CAUSE_UNSPECIFIED: _ClassVar[TruncationCause]
    TRUNCATION_CAUSE_STEP_LIMIT: _ClassVar[TruncationCause]
    TRUNCATION_CAUSE_TIME_LIMIT: _ClassVar[TruncationCause]
    TRUNCATION_CAUSE_SHUTDOWN: _ClassVar[TruncationCause]

class ActionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_STATUS_UNSPECIFIED: _ClassVar[ActionStatus]
    ACTION_STATUS_OK: _ClassVar[ActionStatus]
    ACTION_STATUS_PARSE_ERROR: _ClassVar[ActionStatus]
    ACTION_STATUS_NO_SUCH_ELEMENT: _ClassVar[ActionStatus]
    ACTION_STATUS_NOT_INTERACTABLE: _ClassVar[ActionStatus]
    ACTION_STATUS_REFUSED: _ClassVar[ActionStatus]
    ACTION_STATUS_TIMED_OUT: _ClassVar[ActionStatus]
    ACTION_STATUS_UNSUPPORTED: _ClassVar[ActionStatus]
    ACTION_STATUS_FAILED: _ClassVar[ActionStatus]

class ResetStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESET_STRATEGY_UNSPECIFIED: _ClassVar[ResetStrategy]
    RESET_STRATEGY_FRESH: _ClassVar[ResetStrategy]
    RESET_STRATEGY_PREPARED: _ClassVar[ResetStrategy]
    RESET_STRATEGY_IN_PLACE: _ClassVar[ResetStrategy]
    RESET_STRATEGY_STORAGE: _ClassVar[ResetStrategy]
    RESET_STRATEGY_REPLAY: _ClassVar[ResetStrategy]

class FailureCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CODE_UNSPECIFIED: _ClassVar[FailureCode]
    FAILURE_CODE_INVALID_ARGUMENT: _ClassVar[FailureCode]
    FAILURE_CODE_UNKNOWN_TASK: _ClassVar[FailureCode]
    FAILURE_CODE_SLOT_OUT_OF_RANGE: _ClassVar[FailureCode]
    FAILURE_CODE_WRONG_EPISODE: _ClassVar[FailureCode]
    FAILURE_CODE_WRONG_STEP: _ClassVar[FailureCode]
    FAILURE_CODE_SLOT_BUSY: _ClassVar[FailureCode]
    FAILURE_CODE_NO_EPISODE: _ClassVar[FailureCode]
    FAILURE_CODE_DEADLINE_EXCEEDED: _ClassVar[FailureCode]
    FAILURE_CODE_CANCELLED: _ClassVar[FailureCode]
    FAILURE_CODE_HOST_LOST: _ClassVar[FailureCode]
    FAILURE_CODE_SANDBOX_LOST: _ClassVar[FailureCode]
    FAILURE_CODE_NO_CAPACITY: _ClassVar[FailureCode]
    FAILURE_CODE_SETUP_FAILED: _ClassVar[FailureCode]
    FAILURE_CODE_SCORE_FAILED: _ClassVar[FailureCode]
    FAILURE_CODE_UNKNOWN_SNAPSHOT: _ClassVar[FailureCode]
    FAILURE_CODE_SNAPSHOT_DIVERGED: _ClassVar[FailureCode]
    FAILURE_CODE_UNSUPPORTED: _ClassVar[FailureCode]
    FAILURE_CODE_SHUTTING_DOWN: _ClassVar[FailureCode]
    FAILURE_CODE_BACKEND: _ClassVar[FailureCode]

class ObservationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBSERVATION_KIND_UNSPECIFIED: _ClassVar[ObservationKind]
    OBSERVATION_KIND_SCREENSHOT: _ClassVar[ObservationKind]
    OBSERVATION_KIND_SCREENSHOT_SOM: _ClassVar[ObservationKind]
    OBSERVATION_KIND_BROWSERGYM: _ClassVar[ObservationKind]
    OBSERVATION_KIND_AXTREE_TXT: _ClassVar[ObservationKind]
    OBSERVATION_KIND_WEBARENA_TXT: _ClassVar[ObservationKind]
    OBSERVATION_KIND_HTML: _ClassVar[ObservationKind]
    OBSERVATION_KIND_URL: _ClassVar[ObservationKind]
    OBSERVATION_KIND_TITLE: _ClassVar[ObservationKind]
    OBSERVATION_KIND_TABS: _ClassVar[ObservationKind]
    OBSERVATION_KIND_FOCUSED_ELEMENT: _ClassVar[ObservationKind]
    OBSERVATION_KIND_LAST_ACTION_ERROR: _ClassVar[ObservationKind]
    OBSERVATION_KIND_GOAL: _ClassVar[ObservationKind]

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_PNG: _ClassVar[Encoding]
    ENCODING_JPEG: _ClassVar[Encoding]
    ENCODING_WEBP: _ClassVar[Encoding]
    ENCODING_TEXT: _ClassVar[Encoding]
    ENCODING_JSON: _ClassVar[Encoding]

class MouseButton(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MOUSE_BUTTON_UNSPECIFIED: _ClassVar[MouseButton]
    MOUSE_BUTTON_LEFT: _ClassVar[MouseButton]
    MOUSE_BUTTON_MIDDLE: _ClassVar[MouseButton]
    MOUSE_BUTTON_RIGHT: _ClassVar[MouseButton]
SNAPSHOT_LEVEL_UNSPECIFIED: SnapshotLevel
SNAPSHOT_LEVEL_STORAGE: SnapshotLevel
SNAPSHOT_LEVEL_REPLAY: SnapshotLevel
SLOT_STATE_UNSPECIFIED: SlotState
SLOT_STATE_EMPTY: SlotState
SLOT_STATE_RUNNING: SlotState
SLOT_STATE_OVER: SlotState
SLOT_STATE_LOST: SlotState
RESET_MODE_UNSPECIFIED: ResetMode
RESET_MODE_FRESH: ResetMode
RESET_MODE_IN_PLACE: ResetMode
DIALECT_UNSPECIFIED: Dialect
DIALECT_BROWSERGYM: Dialect
DIALECT_WEBARENA: Dialect
DIALECT_AUTOWEBGLM: Dialect
DIALECT_WEBRL: Dialect
TRUNCATION_CAUSE_UNSPECIFIED: TruncationCause
TRUNCATION_CAUSE_STEP_LIMIT: TruncationCause
TRUNCATION_CAUSE_TIME_LIMIT: TruncationCause
TRUNCATION_CAUSE_SHUTDOWN: TruncationCause
ACTION_STATUS_UNSPECIFIED: ActionStatus
ACTION_STATUS_OK: ActionStatus
ACTION_STATUS_PARSE_ERROR: ActionStatus
ACTION_STATUS_NO_SUCH_ELEMENT: ActionStatus
ACTION_STATUS_NOT_INTERACTABLE: ActionStatus
ACTION_STATUS_REFUSED: ActionStatus
ACTION_STATUS_TIMED_OUT: ActionStatus
ACTION_STATUS_UNSUPPORTED: ActionStatus
ACTION_STATUS_FAILED: ActionStatus
RESET_STRATEGY_UNSPECIFIED: ResetStrategy
RESET_STRATEGY_FRESH: ResetStrategy
RESET_STRATEGY_PREPARED: ResetStrategy
RESET_STRATEGY_IN_PLACE: ResetStrategy
RESET_STRATEGY_STORAGE: ResetStrategy
RESET_STRATEGY_REPLAY: ResetStrategy
FAILURE_CODE_UNSPECIFIED: FailureCode
FAILURE_CODE_INVALID_ARGUMENT: FailureCode
FAILURE_CODE_UNKNOWN_TASK: FailureCode
FAILURE_CODE_SLOT_OUT_OF_RANGE: FailureCode
FAILURE_CODE_WRONG_EPISODE: FailureCode
FAILURE_CODE_WRONG_STEP: FailureCode
FAILURE_CODE_SLOT_BUSY: FailureCode
FAILURE_CODE_NO_EPISODE: FailureCode
FAILURE_CODE_DEADLINE_EXCEEDED: FailureCode
FAILURE_CODE_CANCELLED: FailureCode
FAILURE_CODE_HOST_LOST: FailureCode
FAILURE_CODE_SANDBOX_LOST: FailureCode
FAILURE_CODE_NO_CAPACITY: FailureCode
FAILURE_CODE_SETUP_FAILED: FailureCode
FAILURE_CODE_SCORE_FAILED: FailureCode
FAILURE_CODE_UNKNOWN_SNAPSHOT: FailureCode
FAILURE_CODE_SNAPSHOT_DIVERGED: FailureCode
FAILURE_CODE_UNSUPPORTED: FailureCode
FAILURE_CODE_SHUTTING_DOWN: FailureCode
FAILURE_CODE_BACKEND: FailureCode
OBSERVATION_KIND_UNSPECIFIED: ObservationKind
OBSERVATION_KIND_SCREENSHOT: ObservationKind
OBSERVATION_KIND_SCREENSHOT_SOM: ObservationKind
OBSERVATION_KIND_BROWSERGYM: ObservationKind
OBSERVATION_KIND_AXTREE_TXT: ObservationKind
OBSERVATION_KIND_WEBARENA_TXT: ObservationKind
OBSERVATION_KIND_HTML: ObservationKind
OBSERVATION_KIND_URL: ObservationKind
OBSERVATION_KIND_TITLE: ObservationKind
OBSERVATION_KIND_TABS: ObservationKind
OBSERVATION_KIND_FOCUSED_ELEMENT: ObservationKind
OBSERVATION_KIND_LAST_ACTION_ERROR: ObservationKind
OBSERVATION_KIND_GOAL: ObservationKind
ENCODING_UNSPECIFIED: Encoding
ENCODING_PNG: Encoding
ENCODING_JPEG: Encoding
ENCODING_WEBP: Encoding
ENCODING_TEXT: Encoding
ENCODING_JSON: Encoding
MOUSE_BUTTON_UNSPECIFIED: MouseButton
MOUSE_BUTTON_LEFT: MouseButton
MOUSE_BUTTON_MIDDLE: MouseButton
MOUSE_BUTTON_RIGHT: MouseButton

class ListEnvironmentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListEnvironmentsResponse(_message.Message):
    __slots__ = ("environments",)
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    environments: _containers.RepeatedCompositeFieldContainer[Environment]
    def __init__(self, environments: _Optional[_Iterable[_Union[Environment, _Mapping]]] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("name", "backend", "suite", "provider", "max_slots", "task_count", "observations", "dialects", "snapshot_levels", "in_place_reset", "viewport_width", "viewport_height")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MAX_SLOTS_FIELD_NUMBER: _ClassVar[int]
    TASK_COUNT_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    DIALECTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_LEVELS_FIELD_NUMBER: _ClassVar[int]
    IN_PLACE_RESET_FIELD_NUMBER: _ClassVar[int]
    VIEWPORT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    VIEWPORT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    backend: str
    suite: str
    provider: str
    max_slots: int
    task_count: int
    observations: _containers.RepeatedCompositeFieldContainer[ObservationSpec]
    dialects: _containers.RepeatedScalarFieldContainer[Dialect]
    snapshot_levels: _containers.RepeatedScalarFieldContainer[SnapshotLevel]
    in_place_reset: bool
    viewport_width: int
    viewport_height: int
    def __init__(self, name: _Optional[str] = ..., backend: _Optional[str] = ..., suite: _Optional[str] = ..., provider: _Optional[str] = ..., max_slots: _Optional[int] = ..., task_count: _Optional[int] = ..., observations: _Optional[_Iterable[_Union[ObservationSpec, _Mapping]]] = ..., dialects: _Optional[_Iterable[_Union[Dialect, str]]] = ..., snapshot_levels: _Optional[_Iterable[_Union[SnapshotLevel, str]]] = ..., in_place_reset: bool = ..., viewport_width: _Optional[int] = ..., viewport_height: _Optional[int] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("environment", "page_size", "page_token")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    environment: str
    page_size: int
    page_token: str
    def __init__(self, environment: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("id", "description", "default_step_limit", "default_time_limit_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_STEP_LIMIT_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    description: str
    default_step_limit: int
    default_time_limit_ms: int
    def __init__(self, id: _Optional[str] = ..., description: _Optional[str] = ..., default_step_limit: _Optional[int] = ..., default_time_limit_ms: _Optional[int] = ...) -> None: ...

class AcquireRequest(_message.Message):
    __slots__ = ("client_token", "environment", "slots", "ttl_ms")
    CLIENT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    client_token: str
    environment: str
    slots: int
    ttl_ms: int
    def __init__(self, client_token: _Optional[str] = ..., environment: _Optional[str] = ..., slots: _Optional[int] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("id", "environment", "slots", "expires_in_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    environment: str
    slots: int
    expires_in_ms: int
    def __init__(self, id: _Optional[str] = ..., environment: _Optional[str] = ..., slots: _Optional[int] = ..., expires_in_ms: _Optional[int] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("lease_id", "ttl_ms")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    ttl_ms: int
    def __init__(self, lease_id: _Optional[str] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("lease_id",)
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    def __init__(self, lease_id: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SnapshotInfo(_message.Message):
    __slots__ = ("id", "environment", "level", "task_id", "seed", "step", "size_bytes", "created_unix_ms", "fingerprint")
    ID_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    id: str
    environment: str
    level: SnapshotLevel
    task_id: str
    seed: int
    step: int
    size_bytes: int
    created_unix_ms: int
    fingerprint: str
    def __init__(self, id: _Optional[str] = ..., environment: _Optional[str] = ..., level: _Optional[_Union[SnapshotLevel, str]] = ..., task_id: _Optional[str] = ..., seed: _Optional[int] = ..., step: _Optional[int] = ..., size_bytes: _Optional[int] = ..., created_unix_ms: _Optional[int] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ("environment",)
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    environment: str
    def __init__(self, environment: _Optional[str] = ...) -> None: ...

class ListSnapshotsResponse(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[SnapshotInfo]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[SnapshotInfo, _Mapping]]] = ...) -> None: ...

class DeleteSnapshotRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class DeleteSnapshotResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("version", "uptime_ms", "draining", "pools", "leases", "memory_bytes", "memory_budget_bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_MS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    version: str
    uptime_ms: int
    draining: bool
    pools: _containers.RepeatedCompositeFieldContainer[PoolStatus]
    leases: int
    memory_bytes: int
    memory_budget_bytes: int
    def __init__(self, version: _Optional[str] = ..., uptime_ms: _Optional[int] = ..., draining: bool = ..., pools: _Optional[_Iterable[_Union[PoolStatus, _Mapping]]] = ..., leases: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_budget_bytes: _Optional[int] = ...) -> None: ...

class PoolStatus(_message.Message):
    __slots__ = ("environment", "hosts", "warm", "busy", "leased_slots", "episodes", "steps", "failures", "waiting", "trouble")
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    LEASED_SLOTS_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    environment: str
    hosts: _containers.RepeatedCompositeFieldContainer[HostStatus]
    warm: int
    busy: int
    leased_slots: int
    episodes: int
    steps: int
    failures: int
    waiting: int
    trouble: str
    def __init__(self, environment: _Optional[str] = ..., hosts: _Optional[_Iterable[_Union[HostStatus, _Mapping]]] = ..., warm: _Optional[int] = ..., busy: _Optional[int] = ..., leased_slots: _Optional[int] = ..., episodes: _Optional[int] = ..., steps: _Optional[int] = ..., failures: _Optional[int] = ..., waiting: _Optional[int] = ..., trouble: _Optional[str] = ...) -> None: ...

class HostStatus(_message.Message):
    __slots__ = ("id", "state", "sandboxes", "served", "memory_bytes", "age_ms", "pid")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SANDBOXES_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    sandboxes: int
    served: int
    memory_bytes: int
    age_ms: int
    pid: int
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., sandboxes: _Optional[int] = ..., served: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., age_ms: _Optional[int] = ..., pid: _Optional[int] = ...) -> None: ...

class RolloutRequest(_message.Message):
    __slots__ = ("attach", "commands", "cancel")
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    attach: Attach
    commands: CommandBatch
    cancel: Cancel
    def __init__(self, attach: _Optional[_Union[Attach, _Mapping]] = ..., commands: _Optional[_Union[CommandBatch, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ...) -> None: ...

class RolloutResponse(_message.Message):
    __slots__ = ("attached", "outcomes", "notice")
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    attached: Attached
    outcomes: OutcomeBatch
    notice: Notice
    def __init__(self, attached: _Optional[_Union[Attached, _Mapping]] = ..., outcomes: _Optional[_Union[OutcomeBatch, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ...) -> None: ...

class Attach(_message.Message):
    __slots__ = ("lease_id", "observations")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    observations: ObservationSet
    def __init__(self, lease_id: _Optional[str] = ..., observations: _Optional[_Union[ObservationSet, _Mapping]] = ...) -> None: ...

class Attached(_message.Message):
    __slots__ = ("lease", "slots", "max_in_flight", "max_message_bytes")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    slots: _containers.RepeatedCompositeFieldContainer[SlotPosition]
    max_in_flight: int
    max_message_bytes: int
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., slots: _Optional[_Iterable[_Union[SlotPosition, _Mapping]]] = ..., max_in_flight: _Optional[int] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class SlotPosition(_message.Message):
    __slots__ = ("slot", "episode", "step", "state", "in_flight_request_id", "last_request_id")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    slot: int
    episode: int
    step: int
    state: SlotState
    in_flight_request_id: int
    last_request_id: int
    def __init__(self, slot: _Optional[int] = ..., episode: _Optional[int] = ..., step: _Optional[int] = ..., state: _Optional[_Union[SlotState, str]] = ..., in_flight_request_id: _Optional[int] = ..., last_request_id: _Optional[int] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("text", "draining", "deadline_ms")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    text: str
    draining: bool
    deadline_ms: int
    def __init__(self, text: _Optional[str] = ..., draining: bool = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class CommandBatch(_message.Message):
    __slots__ = ("commands",)
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    def __init__(self, commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("request_id", "slot", "expected_episode", "expected_step", "timeout_ms", "observations", "reset", "step", "observe", "snapshot", "prepare")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_EPISODE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_STEP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    slot: int
    expected_episode: int
    expected_step: int
    timeout_ms: int
    observations: ObservationSet
    reset: Reset
    step: Step
    observe: Observe
    snapshot: Snapshot
    prepare: Prepare
    def __init__(self, request_id: _Optional[int] = ..., slot: _Optional[int] = ..., expected_episode: _Optional[int] = ..., expected_step: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., observations: _Optional[_Union[ObservationSet, _Mapping]] = ..., reset: _Optional[_Union[Reset, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ..., observe: _Optional[_Union[Observe, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., prepare: _Optional[_Union[Prepare, _Mapping]] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("slot", "request_id")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    slot: int
    request_id: int
    def __init__(self, slot: _Optional[int] = ..., request_id: _Optional[int] = ...) -> None: ...

class Reset(_message.Message):
    __slots__ = ("task", "snapshot_id", "mode", "step_limit", "time_limit_ms")
    TASK_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    STEP_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    task: TaskSeed
    snapshot_id: str
    mode: ResetMode
    step_limit: int
    time_limit_ms: int
    def __init__(self, task: _Optional[_Union[TaskSeed, _Mapping]] = ..., snapshot_id: _Optional[str] = ..., mode: _Optional[_Union[ResetMode, str]] = ..., step_limit: _Optional[int] = ..., time_limit_ms: _Optional[int] = ...) -> None: ...

class TaskSeed(_message.Message):
    __slots__ = ("task_id", "seed")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    seed: int
    def __init__(self, task_id: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("text", "typed")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TYPED_FIELD_NUMBER: _ClassVar[int]
    text: ActionText
    typed: Action
    def __init__(self, text: _Optional[_Union[ActionText, _Mapping]] = ..., typed: _Optional[_Union[Action, _Mapping]] = ...) -> None: ...

class ActionText(_message.Message):
    __slots__ = ("text", "dialect")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    text: str
    dialect: Dialect
    def __init__(self, text: _Optional[str] = ..., dialect: _Optional[_Union[Dialect, str]] = ...) -> None: ...

class Observe(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("level",)
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    level: SnapshotLevel
    def __init__(self, level: _Optional[_Union[SnapshotLevel, str]] = ...) -> None: ...

class Prepare(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: TaskSeed
    def __init__(self, task: _Optional[_Union[TaskSeed, _Mapping]] = ...) -> None: ...

class OutcomeBatch(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("request_id", "slot", "episode", "step", "transition", "failure", "snapshot", "prepared", "timing", "replayed", "state")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    slot: int
    episode: int
    step: int
    transition: Transition
    failure: Failure
    snapshot: SnapshotInfo
    prepared: Prepared
    timing: Timing
    replayed: bool
    state: SlotState
    def __init__(self, request_id: _Optional[int] = ..., slot: _Optional[int] = ..., episode: _Optional[int] = ..., step: _Optional[int] = ..., transition: _Optional[_Union[Transition, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., snapshot: _Optional[_Union[SnapshotInfo, _Mapping]] = ..., prepared: _Optional[_Union[Prepared, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., replayed: bool = ..., state: _Optional[_Union[SlotState, str]] = ...) -> None: ...

class Prepared(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue_us", "act_us", "settle_us", "observe_us", "score_us", "total_us")
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    ACT_US_FIELD_NUMBER: _ClassVar[int]
    SETTLE_US_FIELD_NUMBER: _ClassVar[int]
    OBSERVE_US_FIELD_NUMBER: _ClassVar[int]
    SCORE_US_FIELD_NUMBER: _ClassVar[int]
    TOTAL_US_FIELD_NUMBER: _ClassVar[int]
    queue_us: int
    act_us: int
    settle_us: int
    observe_us: int
    score_us: int
    total_us: int
    def __init__(self, queue_us: _Optional[int] = ..., act_us: _Optional[int] = ..., settle_us: _Optional[int] = ..., observe_us: _Optional[int] = ..., score_us: _Optional[int] = ..., total_us: _Optional[int] = ...) -> None: ...

class Transition(_message.Message):
    __slots__ = ("observations", "reward", "raw_reward", "terminated", "truncated", "truncation_cause", "action_result", "reset_report")
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    RAW_REWARD_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_CAUSE_FIELD_NUMBER: _ClassVar[int]
    ACTION_RESULT_FIELD_NUMBER: _ClassVar[int]
    RESET_REPORT_FIELD_NUMBER: _ClassVar[int]
    observations: _containers.RepeatedCompositeFieldContainer[Observation]
    reward: float
    raw_reward: float
    terminated: bool
    truncated: bool
    truncation_cause: TruncationCause
    action_result: ActionResult
    reset_report: ResetReport
    def __init__(self, observations: _Optional[_Iterable[_Union[Observation, _Mapping]]] = ..., reward: _Optional[float] = ..., raw_reward: _Optional[float] = ..., terminated: bool = ..., truncated: bool = ..., truncation_cause: _Optional[_Union[TruncationCause, str]] = ..., action_result: _Optional[_Union[ActionResult, _Mapping]] = ..., reset_report: _Optional[_Union[ResetReport, _Mapping]] = ...) -> None: ...

class ActionResult(_message.Message):
    __slots__ = ("status", "error", "answer", "notes", "finished", "infeasible")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    INFEASIBLE_FIELD_NUMBER: _ClassVar[int]
    status: ActionStatus
    error: str
    answer: str
    notes: _containers.RepeatedScalarFieldContainer[str]
    finished: str
    infeasible: str
    def __init__(self, status: _Optional[_Union[ActionStatus, str]] = ..., error: _Optional[str] = ..., answer: _Optional[str] = ..., notes: _Optional[_Iterable[str]] = ..., finished: _Optional[str] = ..., infeasible: _Optional[str] = ...) -> None: ...

class ResetReport(_message.Message):
    __slots__ = ("strategy", "verified_clean", "check", "duration_us", "goal", "task_id", "seed", "step_limit", "time_limit_ms", "host")
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_CLEAN_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEP_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    strategy: ResetStrategy
    verified_clean: bool
    check: str
    duration_us: int
    goal: str
    task_id: str
    seed: int
    step_limit: int
    time_limit_ms: int
    host: str
    def __init__(self, strategy: _Optional[_Union[ResetStrategy, str]] = ..., verified_clean: bool = ..., check: _Optional[str] = ..., duration_us: _Optional[int] = ..., goal: _Optional[str] = ..., task_id: _Optional[str] = ..., seed: _Optional[int] = ..., step_limit: _Optional[int] = ..., time_limit_ms: _Optional[int] = ..., host: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "reason", "slot_state", "action_may_have_applied", "field", "retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SLOT_STATE_FIELD_NUMBER: _ClassVar[int]
    ACTION_MAY_HAVE_APPLIED_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: FailureCode
    reason: str
    slot_state: SlotState
    action_may_have_applied: bool
    field: str
    retryable: bool
    def __init__(self, code: _Optional[_Union[FailureCode, str]] = ..., reason: _Optional[str] = ..., slot_state: _Optional[_Union[SlotState, str]] = ..., action_may_have_applied: bool = ..., field: _Optional[str] = ..., retryable: bool = ...) -> None: ...

class ObservationSet(_message.Message):
    __slots__ = ("specs",)
    SPECS_FIELD_NUMBER: _ClassVar[int]
    specs: _containers.RepeatedCompositeFieldContainer[ObservationSpec]
    def __init__(self, specs: _Optional[_Iterable[_Union[ObservationSpec, _Mapping]]] = ...) -> None: ...

class ObservationSpec(_message.Message):
    __slots__ = ("kind", "encoding", "quality", "scale")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    kind: ObservationKind
    encoding: Encoding
    quality: int
    scale: float
    def __init__(self, kind: _Optional[_Union[ObservationKind, str]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., quality: _Optional[int] = ..., scale: _Optional[float] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("kind", "encoding", "data", "error", "captured_unix_us", "content_hash")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    kind: ObservationKind
    encoding: Encoding
    data: bytes
    error: str
    captured_unix_us: int
    content_hash: int
    def __init__(self, kind: _Optional[_Union[ObservationKind, str]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., data: _Optional[bytes] = ..., error: _Optional[str] = ..., captured_unix_us: _Optional[int] = ..., content_hash: _Optional[int] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("element", "pixel", "point")
    ELEMENT_FIELD_NUMBER: _ClassVar[int]
    PIXEL_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    element: str
    pixel: Pixel
    point: Point
    def __init__(self, element: _Optional[str] = ..., pixel: _Optional[_Union[Pixel, _Mapping]] = ..., point: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...

class Pixel(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("click", "hover", "mouse_down", "mouse_up", "drag", "scroll", "fill", "type", "select", "set_checked", "clear", "focus", "press", "key_down", "key_up", "insert_text", "upload", "goto", "back", "forward", "new_tab", "close_tab", "focus_tab", "wait_ms", "answer", "infeasible", "finish", "sequence", "scroll_pages")
    CLICK_FIELD_NUMBER: _ClassVar[int]
    HOVER_FIELD_NUMBER: _ClassVar[int]
    MOUSE_DOWN_FIELD_NUMBER: _ClassVar[int]
    MOUSE_UP_FIELD_NUMBER: _ClassVar[int]
    DRAG_FIELD_NUMBER: _ClassVar[int]
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SELECT_FIELD_NUMBER: _ClassVar[int]
    SET_CHECKED_FIELD_NUMBER: _ClassVar[int]
    CLEAR_FIELD_NUMBER: _ClassVar[int]
    FOCUS_FIELD_NUMBER: _ClassVar[int]
    PRESS_FIELD_NUMBER: _ClassVar[int]
    KEY_DOWN_FIELD_NUMBER: _ClassVar[int]
    KEY_UP_FIELD_NUMBER: _ClassVar[int]
    INSERT_TEXT_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    GOTO_FIELD_NUMBER: _ClassVar[int]
    BACK_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    NEW_TAB_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TAB_FIELD_NUMBER: _ClassVar[int]
    FOCUS_TAB_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    INFEASIBLE_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SCROLL_PAGES_FIELD_NUMBER: _ClassVar[int]
    click: Click
    hover: Hover
    mouse_down: MouseButtonChange
    mouse_up: MouseButtonChange
    drag: Drag
    scroll: Scroll
    fill: Fill
    type: TypeText
    select: SelectOption
    set_checked: SetChecked
    clear: Target
    focus: Target
    press: Press
    key_down: str
    key_up: str
    insert_text: str
    upload: Upload
    goto: Goto
    back: Empty
    forward: Empty
    new_tab: Empty
    close_tab: Empty
    focus_tab: int
    wait_ms: int
    answer: str
    infeasible: str
    finish: str
    sequence: Sequence
    scroll_pages: float
    def __init__(self, click: _Optional[_Union[Click, _Mapping]] = ..., hover: _Optional[_Union[Hover, _Mapping]] = ..., mouse_down: _Optional[_Union[MouseButtonChange, _Mapping]] = ..., mouse_up: _Optional[_Union[MouseButtonChange, _Mapping]] = ..., drag: _Optional[_Union[Drag, _Mapping]] = ..., scroll: _Optional[_Union[Scroll, _Mapping]] = ..., fill: _Optional[_Union[Fill, _Mapping]] = ..., type: _Optional[_Union[TypeText, _Mapping]] = ..., select: _Optional[_Union[SelectOption, _Mapping]] = ..., set_checked: _Optional[_Union[SetChecked, _Mapping]] = ..., clear: _Optional[_Union[Target, _Mapping]] = ..., focus: _Optional[_Union[Target, _Mapping]] = ..., press: _Optional[_Union[Press, _Mapping]] = ..., key_down: _Optional[str] = ..., key_up: _Optional[str] = ..., insert_text: _Optional[str] = ..., upload: _Optional[_Union[Upload, _Mapping]] = ..., goto: _Optional[_Union[Goto, _Mapping]] = ..., back: _Optional[_Union[Empty, _Mapping]] = ..., forward: _Optional[_Union[Empty, _Mapping]] = ..., new_tab: _Optional[_Union[Empty, _Mapping]] = ..., close_tab: _Optional[_Union[Empty, _Mapping]] = ..., focus_tab: _Optional[int] = ..., wait_ms: _Optional[int] = ..., answer: _Optional[str] = ..., infeasible: _Optional[str] = ..., finish: _Optional[str] = ..., sequence: _Optional[_Union[Sequence, _Mapping]] = ..., scroll_pages: _Optional[float] = ...) -> None: ...

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Click(_message.Message):
    __slots__ = ("target", "button", "count", "modifiers")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BUTTON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MODIFIERS_FIELD_NUMBER: _ClassVar[int]
    target: Target
    button: MouseButton
    count: int
    modifiers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., button: _Optional[_Union[MouseButton, str]] = ..., count: _Optional[int] = ..., modifiers: _Optional[_Iterable[str]] = ...) -> None: ...

class Hover(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: Target
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ...) -> None: ...

class MouseButtonChange(_message.Message):
    __slots__ = ("target", "button")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BUTTON_FIELD_NUMBER: _ClassVar[int]
    target: Target
    button: MouseButton
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., button: _Optional[_Union[MouseButton, str]] = ...) -> None: ...

class Drag(_message.Message):
    __slots__ = ("to",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    to: Target
    def __init__(self, to: _Optional[_Union[Target, _Mapping]] = ..., **kwargs) -> None: ...

class Scroll(_message.Message):
    __slots__ = ("at", "dx", "dy")
    AT_FIELD_NUMBER: _ClassVar[int]
    DX_FIELD_NUMBER: _ClassVar[int]
    DY_FIELD_NUMBER: _ClassVar[int]
    at: Target
    dx: float
    dy: float
    def __init__(self, at: _Optional[_Union[Target, _Mapping]] = ..., dx: _Optional[float] = ..., dy: _Optional[float] = ...) -> None: ...

class Fill(_message.Message):
    __slots__ = ("target", "text")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    target: Target
    text: str
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...

class TypeText(_message.Message):
    __slots__ = ("target", "text", "clear", "press_enter")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CLEAR_FIELD_NUMBER: _ClassVar[int]
    PRESS_ENTER_FIELD_NUMBER: _ClassVar[int]
    target: Target
    text: str
    clear: bool
    press_enter: bool
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., text: _Optional[str] = ..., clear: bool = ..., press_enter: bool = ...) -> None: ...

class SelectOption(_message.Message):
    __slots__ = ("target", "options")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    target: Target
    options: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., options: _Optional[_Iterable[str]] = ...) -> None: ...

class SetChecked(_message.Message):
    __slots__ = ("target", "checked")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CHECKED_FIELD_NUMBER: _ClassVar[int]
    target: Target
    checked: bool
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., checked: bool = ...) -> None: ...

class Press(_message.Message):
    __slots__ = ("target", "keys")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    target: Target
    keys: str
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., keys: _Optional[str] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("target", "files")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    target: Target
    files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ..., files: _Optional[_Iterable[str]] = ...) -> None: ...

class Goto(_message.Message):
    __slots__ = ("url", "new_tab")
    URL_FIELD_NUMBER: _ClassVar[int]
    NEW_TAB_FIELD_NUMBER: _ClassVar[int]
    url: str
    new_tab: bool
    def __init__(self, url: _Optional[str] = ..., new_tab: bool = ...) -> None: ...

class Sequence(_message.Message):
    __slots__ = ("actions",)
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    def __init__(self, actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ...) -> None: ...
