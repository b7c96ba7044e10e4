/// What a reader must remember to judge the next record.
struct RuleState {
    /// State records that a checkpoint needs.
    struct Presence: OptionSet {
        let rawValue: UInt8
        static let tsc = Presence(rawValue: 1)
        static let sharedInfo = Presence(rawValue: 2)
        static let vcpu0 = Presence(rawValue: 4)
        static let params = Presence(rawValue: 8)
        static let context = Presence(rawValue: 16)
        static let all = Presence(rawValue: 31)
    }

    /// How far memory got.
    enum Memory {
        case none
        case seen
        /// VERIFY was seen: pages are compared only.
        case verifying
    }

    /// Where the libxl layer stands when it has the word.
    enum LibxlPlace {
        case beforeContext
        case inCheckpoint
        case tail
    }

    // The whole stream.
    var libxlPlace = LibxlPlace.beforeContext
    var pvInfo: PVInfo?
    var maxPFN: UInt64?
    var hasCPUIDPolicy = false
    var hasMSRPolicy = false
    var staticDataEnd = false
    var memory = Memory.none
    /// The libxc END was read.
    var ended = false
    var everSeen: Presence = []
    /// Whether checkpoints carry the device model; nil until the first has told.
    var carriesEmulator: Bool?

    // Since the last checkpoint.
    var present: Presence = []
    var paramsSeen: UInt64 = 0
    var hasXenstoreData = false
    var hasEmulatorContext = false
    var recordsThisEpoch: UInt64 = 0
    var bytesThisEpoch: UInt64 = 0

    /// The next checkpoint starts with nothing.
    mutating func startEpoch() {
        present = []
        paramsSeen = 0
        hasXenstoreData = false
        hasEmulatorContext = false
        recordsThisEpoch = 0
        bytesThisEpoch = 0
    }
}
