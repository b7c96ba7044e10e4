/// Forms of a page between two remusd, outside the stream's records (docs/protocol.md, "Page encodings"). What the standby
/// offers, and what the primary may use.
package struct PageEncodings: OptionSet, Equatable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A page of zeros.
    package static let zero = PageEncodings(rawValue: 1)
    /// A page that is what the standby's image has.
    package static let unchanged = PageEncodings(rawValue: 2)
    /// What differs from that.
    package static let delta = PageEncodings(rawValue: 4)
    package static let lz4 = PageEncodings(rawValue: 8)

    /// Those that need nothing but themselves.
    package static let selfContained: PageEncodings = [.zero, .lz4]
    /// Those that need the page as it was: the standby has it only where it keeps the guest's memory itself.
    package static let againstImage: PageEncodings = [.unchanged, .delta]
    package static let all: PageEncodings = [.selfContained, .againstImage]
}

/// The items of an `encodedData` frame: the low three bits of an item's first byte. The high five are a number, zero
/// where nothing else is said.
enum PageItem: UInt8 {
    /// u16 length, at least 1; that many bytes of the stream.
    case literal = 0
    /// A PAGE_DATA record's head: u16 entries, then the entries (`PageList`). Its pages follow as items, in order.
    case record = 1
    /// 4096 bytes.
    case plain = 2
    /// As many pages of zeros as the number plus one.
    case zero = 3
    /// As many pages as the number plus one, each as it was.
    case unchanged = 4
    /// What differs, in whole words; the number is that of the listed groups (CKernels.h).
    case words = 5
    /// What differs, in bytes.
    case bytes = 6
    /// u16 length, at least 1; an LZ4 block of that length.
    case lz4 = 7

    /// The most that the number can count, plus one.
    static let longestRun = 32

    func tag(_ number: Int = 0) -> UInt8 { rawValue | UInt8(number) << 3 }
}

/// Why an `encodedData` frame cannot be what a primary made.
package struct EncodedFrameError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
