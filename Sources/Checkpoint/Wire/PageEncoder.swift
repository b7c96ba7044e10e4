import CKernels
import XenStream

/// Turns a stream's bytes into the bodies of `encodedData` frames, one frame after the other, in memory of its own: pages in
/// the smallest form that the standby takes, everything else as it is. The frames decode to exactly the bytes that came in.
///
/// Allocates nothing after `init`.
package final class PageEncoder {
    /// A frame is over when it stands for that many bytes of the stream, or a little more.
    static let framePlain = 512 << 10
    /// The first of what was handed over is short: the standby is woken while the rest is encoded.
    static let firstPlain = 64 << 10
    /// The most bytes of a frame's body: no form is longer than what it stands for but for the byte before it, and the kernels
    /// write a little beyond their end.
    static let frameCapacity = framePlain + (64 << 10)
    /// A difference longer than that is tried against LZ4, which costs many times as much and gains little on a shorter one.
    private static let tryLZ4Above = 1024
    /// After so many pages in a row that LZ4 made no smaller, one of 32 is tried: trying costs as much as sending.
    private static let patience = 16
    /// The longest literal.
    private static let literalLimit = Int(UInt16.max)

    package let encodings: PageEncodings
    /// Where pages are compared with what was sent last; nil if the standby takes nothing that needs it.
    package let shadow: PageShadow?
    private let frame: UnsafeMutableRawPointer
    private var filled = 0
    /// Where the last run's tag lies in `frame`, if one more page may still join it.
    private var run: (item: PageItem, count: Int, at: Int)?

    private var data = UnsafeRawBufferPointer(start: nil, count: 0)
    private var position = 0
    private var records = UnsafeBufferPointer<Int>(start: nil, count: 0)
    private var nextRecord = 0
    /// The list of the record whose pages come next, and how far they have come.
    private var list: UnsafeRawPointer?
    private var entries = 0, nextEntry = 0
    private let delta = UnsafeMutablePointer<ckernels_delta>.allocate(capacity: 1)
    /// Pages by themselves in a row that did not get smaller.
    private var misses = 0

    /// - Parameters:
    ///   - encodings: what the standby takes.
    ///   - shadow: must be there for those that need the page as it was; without it they are not used.
    package init(_ encodings: PageEncodings, shadow: PageShadow?) {
        self.encodings = shadow == nil ? encodings.subtracting(.againstImage) : encodings
        self.shadow = encodings.isDisjoint(with: .againstImage) ? nil : shadow
        frame = .allocate(byteCount: Self.frameCapacity, alignment: 64)
        delta.initialize(to: ckernels_delta())
    }

    deinit {
        frame.deallocate()
        delta.deallocate()
    }

    /// Begins with bytes of the stream, which stay where they are until all of them are encoded.
    /// - Parameter records: where in `data` its PAGE_DATA records begin, ascending; pages of others are sent as they are.
    package func begin(_ data: UnsafeRawBufferPointer, records: UnsafeBufferPointer<Int>) {
        self.data = data
        self.records = records
        (position, nextRecord, entries, nextEntry) = (0, 0, 0, 0)
    }

    /// The next frame's body, valid until the next call, and how many bytes of the stream it stands for: none at the end.
    package func next() -> (body: UnsafeRawBufferPointer, plain: Int) {
        let start = position
        filled = 4
        run = nil
        let end = min(start + (start == 0 ? Self.firstPlain : Self.framePlain), data.count)
        while position < end { step(before: end) }
        frame.storeBytes(of: UInt32(position - start).littleEndian, as: UInt32.self)
        return (UnsafeRawBufferPointer(start: frame, count: filled), position - start)
    }

    /// The next item; what is no page ends at `frameEnd` at the latest.
    private func step(before frameEnd: Int) {
        if nextEntry < entries {
            encodePage()
        } else if nextRecord < records.count, records[nextRecord] == position {
            nextRecord += 1
            beginRecord()
        } else {
            let end = nextRecord < records.count ? records[nextRecord] : data.count
            literal(min(min(end, frameEnd) - position, Self.literalLimit))
        }
    }

    // MARK: Items

    private func put(_ byte: UInt8) {
        frame.storeBytes(of: byte, toByteOffset: filled, as: UInt8.self)
        filled += 1
    }

    private func put(length: Int) {
        frame.storeBytes(of: UInt16(length).littleEndian, toByteOffset: filled, as: UInt16.self)
        filled += 2
    }

    private func literal(_ count: Int) {
        run = nil
        put(PageItem.literal.tag())
        put(length: count)
        take(count)
    }

    /// The stream's next bytes, as they are.
    private func take(_ count: Int) {
        UnsafeMutableRawBufferPointer(start: frame + filled, count: count)
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: data[position..<position + count]))
        filled += count
        position += count
    }

    /// One more page of a run.
    private func join(_ item: PageItem) {
        if let last = run, last.item == item, last.count < PageItem.longestRun {
            frame.storeBytes(of: item.tag(last.count), toByteOffset: last.at, as: UInt8.self)
            run?.count += 1
        } else {
            run = (item, 1, filled)
            put(item.tag())
        }
        position += guestPageSize
    }

    /// A PAGE_DATA record's head. What is not as this program's own writer makes it goes as it is.
    private func beginRecord() {
        let record = UnsafeRawBufferPointer(rebasing: data[position...])
        guard record.count >= 16, let base = record.baseAddress else { return }
        let (type, reserved): (UInt32, UInt32) = (record.loadLE(at: 0), record.loadLE(at: 12))
        let (length, count) = (Int(record.loadLE(at: 4) as UInt32), Int(record.loadLE(at: 8) as UInt32))
        guard type == LibxcRecordType.pageData.rawValue, reserved == 0, count > 0, count <= PageList.longest,
            record.count >= 16 + 8 * count
        else { return }
        var pages = 0
        for index in 0..<count where PageList.hasData(record.loadLE(at: 16 + 8 * index)) { pages += 1 }
        guard length == 8 + 8 * count + guestPageSize * pages, record.count >= 8 + length else { return }
        let start = filled
        run = nil
        put(PageItem.record.tag())
        put(length: count)
        guard let written = PageList.encode(base + 16, count: count, into: frame + filled) else {
            filled = start
            return
        }
        filled += written
        position += 16 + 8 * count
        list = base + 16
        (entries, nextEntry) = (count, 0)
        skipEmptyEntries()
    }

    private func entry(_ index: Int) -> UInt64 {
        guard index < entries, let list else { return .max }
        return UInt64(littleEndian: list.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
    }

    private func skipEmptyEntries() {
        while nextEntry < entries, !PageList.hasData(entry(nextEntry)) { nextEntry += 1 }
    }

    // MARK: Pages

    private func encodePage() {
        let pfn = PageList.pfn(entry(nextEntry))
        nextEntry += 1
        skipEmptyEntries()
        let content = data.baseAddress.map { $0 + position }
        guard let content else { return }
        let old = shadow?.page(pfn)
        if encodings.contains(.zero), ckernels_is_zero(content, guestPageSize) {
            // A page that was never written stays untouched here too.
            if let old, !ckernels_is_zero(old, guestPageSize) {
                old.initializeMemory(as: UInt8.self, repeating: 0, count: guestPageSize)
            }
            if old != nil { _ = shadow?.noteSent(pfn) }
            return join(.zero)
        }
        guard let shadow, let old else { return encodeAlone(content) }
        guard shadow.noteSent(pfn) else {
            ckernels_copy_page(old, content)
            return encodeAlone(content)
        }
        encodeDifference(content, old, shadow)
    }

    private func encodeDifference(
        _ content: UnsafeRawPointer,
        _ old: UnsafeMutableRawPointer,
        _ shadow: PageShadow
    ) {
        // Of entries without data, which are few, the wrong page is fetched.
        let next = shadow.page(PageList.pfn(entry(nextEntry)))
        let later = shadow.page(PageList.pfn(entry(nextEntry + 2)))
        ckernels_delta_find(CKERNELS_BEST, content, old, next, later, delta)
        if delta.pointee.groups == 0, encodings.contains(.unchanged) { return join(.unchanged) }
        let isNarrow = delta.pointee.narrow < delta.pointee.wide
        let length = Int(min(delta.pointee.narrow, delta.pointee.wide))
        guard encodings.contains(.delta), delta.pointee.groups != 0, length < guestPageSize else {
            return encodeAlone(content)
        }
        if length > Self.tryLZ4Above, encodeLZ4(content, below: length) { return }
        let listed = delta.pointee.groups.nonzeroBitCount
        run = nil
        put((isNarrow ? PageItem.bytes : .words).tag(listed <= Int(CKERNELS_DELTA_LISTED) ? listed : 0))
        filled += ckernels_delta_pack(CKERNELS_BEST, content, delta, isNarrow, frame + filled)
        position += guestPageSize
    }

    /// Without any other page.
    private func encodeAlone(_ content: UnsafeRawPointer) {
        let isTried = misses < Self.patience || misses % 32 == 0
        if isTried, encodeLZ4(content, below: guestPageSize) {
            misses = 0
            return
        }
        misses += 1
        run = nil
        put(PageItem.plain.tag())
        ckernels_copy_page(frame + filled, content)
        filled += guestPageSize
        position += guestPageSize
    }

    /// - Returns: whether it took less, with all that goes with it, than an item of `length` bytes and its tag.
    private func encodeLZ4(_ content: UnsafeRawPointer, below length: Int) -> Bool {
        guard encodings.contains(.lz4) else { return false }
        // Two bytes more than other forms, for its length.
        let packed = ckernels_lz4_encode(content, frame + filled + 3, length - 3)
        guard packed > 0 else { return false }
        run = nil
        put(PageItem.lz4.tag())
        put(length: packed)
        filled += packed
        position += guestPageSize
        return true
    }
}
