/// Bounds that a reader enforces before it allocates anything.
package struct ReaderBudgets: Equatable, Sendable {
    /// The longest libxc record body; the format's own limit is 128 MiB.
    package var libxcRecordLength: UInt32 = RecordFraming.libxcMaximumLength
    /// The longest libxl record body; the format has no limit.
    package var libxlRecordLength: UInt32 = 64 << 20
    /// The longest body that is kept whole for a handler: every record but PAGE_DATA and ignored ones.
    package var bufferedLength: UInt32 = RecordFraming.libxcMaximumLength
    /// The longest JSON configuration.
    package var configLength: UInt32 = 4 << 20
    /// Entries of one PAGE_DATA record that may have to be kept, from the first that carries data on.
    package var heldPageEntries: Int = 1 << 20
    /// Records of both layers from one checkpoint to the next.
    package var recordsPerEpoch: UInt64 = 1 << 40
    /// Bytes from one checkpoint to the next.
    package var bytesPerEpoch: UInt64 = 1 << 50
    /// The highest PFN (16 TiB of guest memory).
    package var highestPFN: UInt64 = (1 << 32) - 1
    /// How many vcpus a guest may have.
    package var vcpus: UInt32 = 8192
    /// Bytes for remembering the types of a PV guest's pages, half a byte each. Frames beyond it are not checked.
    package var pageTypeBytes: Int = 32 << 20

    /// The defaults above.
    package init() {}
}

/// How a reader reads.
package struct ReaderOptions: Equatable, Sendable {
    /// What the input starts with.
    package enum Start: Sendable {
        /// Whichever of the three its first bytes show.
        case detect
        /// An xl save header.
        case xl
        /// A libxl header.
        case libxl
        /// A libxc image header.
        case libxc
    }

    /// How much is forgiven.
    package enum Strictness: Sendable {
        /// Nothing: every rule of the format, and every check Xen's own reader lacks.
        case strict
        /// What Xen's own reader tolerates: padding and reserved bits that are not zero, lengths of empty records,
        /// optional records, repeated or missing state. Framing is never forgiven.
        case lenient
    }

    /// Whether checkpoints are expected.
    package enum Lifecycle: Sendable {
        /// Whichever the stream shows.
        case any
        /// One image, ended by END.
        case plain
        /// Remus: checkpoints, no END before the first.
        case checkpointed
    }

    /// What the input starts with.
    package var start: Start
    /// How much is forgiven.
    package var strictness: Strictness
    /// Whether checkpoints are expected.
    package var lifecycle: Lifecycle
    /// What it may cost.
    package var budgets: ReaderBudgets

    /// Options; the default detects the start, is strict and takes both lifecycles.
    package init(
        start: Start = .detect,
        strictness: Strictness = .strict,
        lifecycle: Lifecycle = .any,
        budgets: ReaderBudgets = .init()
    ) {
        self.start = start
        self.strictness = strictness
        self.lifecycle = lifecycle
        self.budgets = budgets
    }
}
