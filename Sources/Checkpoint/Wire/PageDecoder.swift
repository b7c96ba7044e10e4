import CKernels
import XenStream

/// Turns the body of an `encodedData` frame back into the stream's bytes. Believes nothing: whatever the body holds, only
/// the memory that was handed over is written, and what is not exactly that many bytes is refused. Whether they are the right
/// ones the epoch's checksum says.
struct PageDecoder: ~Copyable {
    /// The running record's entries.
    private let entries: UnsafeMutableBufferPointer<UInt64>
    private var count = 0, next = 0

    init() { entries = .allocate(capacity: PageList.longest) }

    deinit { entries.deallocate() }

    /// An epoch begins: no record runs.
    mutating func restart() { (count, next) = (0, 0) }

    /// Fills `target`.
    /// - Parameter reference: the 4096 bytes of a page as the image has it; nil for what it has not.
    mutating func decode(
        _ body: UnsafeRawBufferPointer,
        into target: UnsafeMutableRawBufferPointer,
        reference: (_ pfn: Int) -> UnsafeRawBufferPointer?
    ) throws(EncodedFrameError) {
        var input = Input(rest: body)
        var output = Output(rest: target)
        while !input.rest.isEmpty {
            let tag = try input.byte()
            let number = Int(tag >> 3)
            guard let item = PageItem(rawValue: tag & 7) else {
                throw EncodedFrameError("an item of no kind")
            }
            switch item {
            case .literal:
                try require(number == 0 && next == count, "a literal where a page was expected")
                let bytes = try input.take(try input.length())
                try output.take(bytes.count).copyMemory(from: bytes)
            case .record:
                try require(number == 0 && next == count, "a record where a page was expected")
                try beginRecord(&input, &output)
            case .plain:
                try require(number == 0, "a malformed page")
                let bytes = try input.take(guestPageSize)
                ckernels_copy_page(try page(&output).target.baseAddress, bytes.baseAddress)
            case .zero:
                for _ in 0...number {
                    try page(&output).target.initializeMemory(as: UInt8.self, repeating: 0)
                }
            case .unchanged:
                for _ in 0...number {
                    let (pfn, target) = try page(&output)
                    try fill(target, from: reference(pfn))
                }
            case .words, .bytes:
                let (pfn, target) = try page(&output)
                try fill(target, from: reference(pfn))
                prefetch(reference)
                try input.applyDelta(listed: number, isNarrow: item == .bytes, to: target)
            case .lz4:
                try require(number == 0, "a malformed page")
                let bytes = try input.take(try input.length())
                let target = try page(&output).target
                let isPage = ckernels_lz4_decode(bytes.baseAddress, bytes.count, target.baseAddress)
                try require(isPage, "a page that LZ4 did not make")
            }
        }
        try require(output.rest.isEmpty, "an encoded frame that decodes to fewer bytes than it says")
    }

    /// Where the next page goes that the running record announced.
    private mutating func page(_ output: inout Output) throws(EncodedFrameError)
        -> (pfn: Int, target: UnsafeMutableRawBufferPointer)
    {
        try require(next < count, "a page that no record announced")
        let pfn = PageList.pfn(entries[next])
        next += 1
        skipEmptyEntries()
        return (pfn, try output.take(guestPageSize))
    }

    private func fill(_ target: UnsafeMutableRawBufferPointer, from page: UnsafeRawBufferPointer?)
        throws(EncodedFrameError)
    {
        guard let page, page.count == guestPageSize else {
            throw EncodedFrameError("a difference from a page that is not here")
        }
        ckernels_copy_page(target.baseAddress, page.baseAddress)
    }

    /// The next page of the image is likely wanted too.
    private func prefetch(_ reference: (_ pfn: Int) -> UnsafeRawBufferPointer?) {
        guard next < count else { return }
        ckernels_prefetch_page(reference(PageList.pfn(entries[next]))?.baseAddress)
    }

    private mutating func skipEmptyEntries() {
        while next < count, !PageList.hasData(entries[next]) { next += 1 }
    }

    private mutating func beginRecord(_ input: inout Input, _ output: inout Output) throws(EncodedFrameError)
    {
        let length = try input.length()
        try require(length <= entries.count, "a record of too many pages")
        let list = UnsafeMutableBufferPointer(rebasing: entries[..<length])
        _ = try input.take(try PageList.decode(input.rest, into: list))
        let head = try output.take(16 + 8 * length)
        head.storeLE(LibxcRecordType.pageData.rawValue, at: 0)
        head.storeLE(UInt32(8 + 8 * length + guestPageSize * PageList.pages(list)), at: 4)
        head.storeLE(UInt32(length), at: 8)
        head.storeLE(UInt32(0), at: 12)
        for index in 0..<length { head.storeLE(list[index], at: 16 + 8 * index) }
        (count, next) = (length, 0)
        skipEmptyEntries()
    }

    /// What is left to read.
    private struct Input {
        var rest: UnsafeRawBufferPointer

        mutating func byte() throws(EncodedFrameError) -> UInt8 { try take(1)[0] }

        /// A u16, at least 1.
        mutating func length() throws(EncodedFrameError) -> Int {
            let length = Int(try take(2).loadLE(at: 0) as UInt16)
            guard length > 0 else { throw EncodedFrameError("an item of no bytes") }
            return length
        }

        mutating func take(_ count: Int) throws(EncodedFrameError) -> UnsafeRawBufferPointer {
            guard count <= rest.count else { throw EncodedFrameError("an encoded frame is cut short") }
            defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
            return UnsafeRawBufferPointer(rebasing: rest[..<count])
        }

        mutating func applyDelta(listed: Int, isNarrow: Bool, to page: UnsafeMutableRawBufferPointer)
            throws(EncodedFrameError)
        {
            let used = ckernels_delta_apply(
                rest.baseAddress,
                rest.count,
                UInt32(listed),
                isNarrow,
                page.baseAddress
            )
            guard used >= 0 else { throw EncodedFrameError("a malformed difference") }
            _ = try take(used)
        }
    }

    /// What is left to fill.
    private struct Output {
        var rest: UnsafeMutableRawBufferPointer

        mutating func take(_ count: Int) throws(EncodedFrameError) -> UnsafeMutableRawBufferPointer {
            guard count <= rest.count else {
                throw EncodedFrameError("an encoded frame that decodes to more bytes than it says")
            }
            defer { rest = UnsafeMutableRawBufferPointer(rebasing: rest[count...]) }
            return UnsafeMutableRawBufferPointer(rebasing: rest[..<count])
        }
    }
}

private func require(_ condition: Bool, _ otherwise: String) throws(EncodedFrameError) {
    if !condition { throw EncodedFrameError(otherwise) }
}
