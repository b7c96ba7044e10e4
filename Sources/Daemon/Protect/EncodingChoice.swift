import Checkpoint

/// How pages go to the standby, as far as it takes them (docs/protocol.md, "Page encodings"): `--encoding`, or the environment's
/// REMUSD_ENCODING.
package enum EncodingChoice: String, EnvironmentChoice {
    /// As they are.
    case plain
    /// Zeros by name, and LZ4 where it makes a page smaller.
    case lz4
    /// These, and what differs from what was sent last, which takes memory as large as the guest's.
    case delta

    package static let variable = "REMUSD_ENCODING"

    /// The forms that it may take.
    var encodings: PageEncodings {
        switch self {
        case .plain: []
        case .lz4: .selfContained
        case .delta: .all
        }
    }
}
