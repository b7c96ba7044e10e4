import SystemSupport

/// What the standby daemon asks its guardian, over a unix stream socket: an operation byte, a key's length (u8) and the
/// key; memory files come and go as attached descriptors. The answer is one byte, and for `take` the descriptors.
enum GuardianOperation: UInt8 {
    /// Hold the attached descriptors under the key, in place of what was there.
    case hold = 1
    /// Forget the key.
    case drop = 2
    /// Give a copy of the descriptors under the key.
    case take = 3
    /// Give the keys, one after another, each with its length before it; a zero ends them.
    case list = 4
    /// Give the process number: four bytes, little endian.
    case identify = 5

    static let done: UInt8 = 0
    static let unknown: UInt8 = 1

    /// Longest key: a guest's name.
    static let keyLimit = 64
}
