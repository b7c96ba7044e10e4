/// Writes a version 3 stream into memory that the caller owns. Allocates nothing.
///
/// Running out of memory is the caller's bug and stops the program; the `...Length` functions say beforehand what a
/// piece takes. Order is the caller's: static data, STATIC_DATA_END, (PV) P2M_FRAMES, memory, state, and HVM_PARAMS
/// before HVM_CONTEXT, as the libxc stream spec demands.
package struct StreamWriter {
    /// The caller's memory.
    package let memory: UnsafeMutableRawBufferPointer
    /// Bytes written so far.
    package private(set) var count = 0

    /// A writer at the start of `memory`.
    package init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }

    /// What was written.
    package var written: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

    /// Bytes left.
    package var room: Int { memory.count - count }

    /// Forgets what was written; the memory can be filled anew.
    package mutating func reset() { count = 0 }

    /// Takes the next `length` bytes for the caller to fill, and returns where they start.
    @discardableResult
    package mutating func advance(_ length: Int) -> UnsafeMutableRawPointer {
        guard length >= 0, length <= room, let base = memory.baseAddress else {
            preconditionFailure(
                "StreamWriter: \(length) bytes do not fit, \(room) of \(memory.count) are left"
            )
        }
        count += length
        return base + (count - length)
    }

    // MARK: Integers and bytes

    @inline(__always)
    private mutating func put<T: FixedWidthInteger>(little value: T) {
        advance(MemoryLayout<T>.size).storeBytes(of: value.littleEndian, as: T.self)
    }

    @inline(__always)
    private mutating func put<T: FixedWidthInteger>(big value: T) {
        advance(MemoryLayout<T>.size).storeBytes(of: value.bigEndian, as: T.self)
    }

    private mutating func zero(_ length: Int) {
        advance(length).initializeMemory(as: UInt8.self, repeating: 0, count: length)
    }

    /// Appends bytes as they are: a part of a stream that is already encoded.
    package mutating func appendRaw(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        advance(bytes.count).copyMemory(from: source, byteCount: bytes.count)
    }

    // MARK: Lengths

    /// Bytes of the xl header and its optional data for a configuration of `json` bytes (without a NUL).
    package static func xlHeaderLength(json: Int) -> Int { XLSaveHeader.size + 4 + json + 1 }

    /// Bytes of a record with a body of `body` bytes, header and padding included.
    package static func recordLength(body: Int) -> Int {
        RecordFraming.headerSize + body + RecordFraming.padding(body)
    }

    /// Bytes of a PAGE_DATA record, header included.
    package static func pageDataLength(entries: Int, withData: Int) -> Int {
        RecordFraming.headerSize + 8 + 8 * entries + RecordFraming.pageSize * withData
    }

    /// Bytes of an HVM_PARAMS record.
    package static func hvmParamsLength(_ params: Int) -> Int {
        recordLength(body: HVMParam.listHeaderSize + HVMParam.size * params)
    }

    // MARK: Headers

    /// The xl header with its JSON configuration; the NUL that `xl` counts in is added here.
    package mutating func appendXLHeader(json: UnsafeRawBufferPointer) {
        for byte in UnsafeRawBufferPointer(
            start: XLSaveHeader.magic.utf8Start,
            count: XLSaveHeader.magic.utf8CodeUnitCount
        ) { put(little: byte) }
        let header = XLSaveHeader(optionalDataLength: UInt32(4 + json.count + 1))
        put(little: XLSaveHeader.byteOrderMark)
        put(little: header.mandatoryFlags)
        put(little: header.optionalFlags)
        put(little: header.optionalDataLength)
        put(little: UInt32(json.count + 1))
        appendRaw(json)
        put(little: UInt8(0))
    }

    /// The libxl header.
    package mutating func appendLibxlHeader(_ header: LibxlHeader = .init()) {
        put(big: LibxlHeader.ident)
        put(big: header.version)
        put(big: header.options)
    }

    /// The libxc image header, of version 3.
    package mutating func appendImageHeader() {
        let header = ImageHeader()
        put(big: ImageHeader.marker)
        put(big: ImageHeader.ident)
        put(big: header.version)
        put(big: header.options)
        zero(6)
    }

    /// The libxc domain header.
    package mutating func appendDomainHeader(_ header: DomainHeader) {
        put(little: header.kind.rawValue)
        put(little: DomainHeader.pageShift)
        put(little: UInt16(0))
        put(little: header.xenMajor)
        put(little: header.xenMinor)
    }

    // MARK: Records in general

    /// A record's header; the caller appends a body of exactly `length` bytes and then the padding.
    package mutating func beginRecord(type: UInt32, length: Int) {
        put(little: type)
        put(little: UInt32(length))
    }

    /// The padding after a body of `length` bytes.
    package mutating func appendPadding(afterBody length: Int) { zero(RecordFraming.padding(length)) }

    /// A libxc record.
    package mutating func appendRecord(
        _ type: LibxcRecordType,
        body: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) {
        beginRecord(type: type.rawValue, length: body.count)
        appendRaw(body)
        appendPadding(afterBody: body.count)
    }

    /// A libxl record.
    package mutating func appendRecord(
        _ type: LibxlRecordType,
        body: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) {
        beginRecord(type: type.rawValue, length: body.count)
        appendRaw(body)
        appendPadding(afterBody: body.count)
    }

    // MARK: Static data

    /// X86_PV_INFO.
    package mutating func appendPVInfo(_ info: PVInfo) {
        beginRecord(type: LibxcRecordType.x86PVInfo.rawValue, length: PVInfo.size)
        put(little: info.guestWidth)
        put(little: info.pagingLevels)
        zero(6)
    }

    /// X86_CPUID_POLICY; nothing for an empty list, which the format forbids.
    package mutating func appendCPUIDPolicy(_ entries: UnsafeBufferPointer<CPUIDPolicyEntry>) {
        guard !entries.isEmpty else { return }
        beginRecord(
            type: LibxcRecordType.x86CPUIDPolicy.rawValue,
            length: entries.count * CPUIDPolicyEntry.size
        )
        for entry in entries {
            put(little: entry.leaf)
            put(little: entry.subleaf)
            put(little: entry.eax)
            put(little: entry.ebx)
            put(little: entry.ecx)
            put(little: entry.edx)
        }
    }

    /// X86_MSR_POLICY; nothing for an empty list, which the format forbids.
    package mutating func appendMSRPolicy(_ entries: UnsafeBufferPointer<MSRPolicyEntry>) {
        guard !entries.isEmpty else { return }
        beginRecord(type: LibxcRecordType.x86MSRPolicy.rawValue, length: entries.count * MSRPolicyEntry.size)
        for entry in entries {
            put(little: entry.index)
            put(little: entry.flags)
            put(little: entry.value)
        }
    }

    /// X86_PV_P2M_FRAMES; `frames` must be as many as the header says for the guest's width.
    package mutating func appendP2MFrames(_ header: P2MFramesHeader, frames: UnsafeBufferPointer<UInt64>) {
        beginRecord(
            type: LibxcRecordType.x86PVP2MFrames.rawValue,
            length: P2MFramesHeader.size + 8 * frames.count
        )
        put(little: header.startPFN)
        put(little: header.endPFN)
        for frame in frames { put(little: frame) }
    }

    // MARK: Memory

    /// Header and list of a PAGE_DATA record. The caller then copies the content of each entry that carries data, in
    /// order, to the returned offset of `memory` and on; those bytes count as written.
    package mutating func beginPageData(_ entries: UnsafeBufferPointer<PageEntry>) -> Int {
        var withData = 0
        for entry in entries where entry.type.carriesData { withData += 1 }
        let list = beginPageData(entries: entries.count, withData: withData)
        for index in entries.indices {
            (list + 8 * index).storeBytes(of: entries[index].encoded.littleEndian, as: UInt64.self)
        }
        return count - withData * RecordFraming.pageSize
    }

    /// The same for entries that are already encoded (`PageEntry.encoded`).
    package mutating func beginPageData(encoded entries: UnsafeBufferPointer<UInt64>) -> Int {
        var withData = 0
        for entry in entries where entry >> 60 < 0xD { withData += 1 }
        let list = beginPageData(entries: entries.count, withData: withData)
        for index in entries.indices {
            (list + 8 * index).storeBytes(of: entries[index].littleEndian, as: UInt64.self)
        }
        return count - withData * RecordFraming.pageSize
    }

    /// The same for pages and the type of each.
    package mutating func beginPageData(
        _ pfns: UnsafeBufferPointer<UInt64>,
        types: UnsafeBufferPointer<PageType>
    ) -> Int {
        precondition(types.count == pfns.count, "StreamWriter: a type for each page")
        var withData = 0
        for type in types where type.carriesData { withData += 1 }
        let list = beginPageData(entries: pfns.count, withData: withData)
        for index in pfns.indices {
            let entry = PageEntry(pfn: pfns[index], type: types[index])
            (list + 8 * index).storeBytes(of: entry.encoded.littleEndian, as: UInt64.self)
        }
        return count - withData * RecordFraming.pageSize
    }

    /// Takes the room of a whole PAGE_DATA record, writes its head, and returns where the list goes.
    private mutating func beginPageData(entries: Int, withData: Int) -> UnsafeMutableRawPointer {
        let length = StreamWriter.pageDataLength(entries: entries, withData: withData)
        let bodyLength = length - RecordFraming.headerSize
        precondition(entries > 0, "StreamWriter: a PAGE_DATA record needs at least one entry")
        precondition(
            bodyLength <= Int(RecordFraming.libxcMaximumLength),
            "StreamWriter: a PAGE_DATA record of \(bodyLength) bytes is longer than the format allows"
        )
        let start = advance(length)
        start.storeBytes(of: LibxcRecordType.pageData.rawValue.littleEndian, as: UInt32.self)
        start.storeBytes(of: UInt32(bodyLength).littleEndian, toByteOffset: 4, as: UInt32.self)
        start.storeBytes(of: UInt32(entries).littleEndian, toByteOffset: 8, as: UInt32.self)
        start.storeBytes(of: UInt32(0), toByteOffset: 12, as: UInt32.self)
        return start + 16
    }

    // MARK: State

    /// X86_TSC_INFO.
    package mutating func appendTSCInfo(_ info: TSCInfo) {
        beginRecord(type: LibxcRecordType.x86TSCInfo.rawValue, length: TSCInfo.size)
        put(little: info.mode)
        put(little: info.khz)
        put(little: info.nanoseconds)
        put(little: info.incarnation)
        zero(4)
    }

    /// SHARED_INFO; `page` is the raw frame of 4096 bytes.
    package mutating func appendSharedInfo(_ page: UnsafeRawBufferPointer) {
        precondition(page.count == RecordFraming.pageSize, "StreamWriter: SHARED_INFO is one page")
        appendRecord(LibxcRecordType.sharedInfo, body: page)
    }

    /// One of the four X86_PV_VCPU records.
    package mutating func appendVcpu(_ type: LibxcRecordType, vcpu: UInt32, blob: UnsafeRawBufferPointer) {
        let length = VcpuRecordHeader.size + blob.count
        beginRecord(type: type.rawValue, length: length)
        put(little: vcpu)
        put(little: UInt32(0))
        appendRaw(blob)
        appendPadding(afterBody: length)
    }

    /// HVM_PARAMS; goes before HVM_CONTEXT.
    package mutating func appendHVMParams(_ params: UnsafeBufferPointer<HVMParam>) {
        beginRecord(
            type: LibxcRecordType.hvmParams.rawValue,
            length: HVMParam.listHeaderSize + HVMParam.size * params.count
        )
        put(little: UInt32(params.count))
        put(little: UInt32(0))
        for param in params {
            put(little: param.index)
            put(little: param.value)
        }
    }

    /// Bytes of an HVM_CONTEXT record that `appendHVMContext(typecode:instance:payload:)` makes.
    package static func hvmContextLength(payload: Int) -> Int {
        recordLength(body: hvmContextBodyLength(payload: payload))
    }

    private static func hvmContextBodyLength(payload: Int) -> Int {
        3 * HVMContextEntry.headerSize + HVMContextEntry.headerPayloadSize + payload
    }

    /// HVM_CONTEXT with one entry of our own between the header entry and the closing one.
    package mutating func appendHVMContext(
        typecode: UInt16,
        instance: UInt16 = 0,
        payload: UnsafeRawBufferPointer
    ) {
        let length = StreamWriter.hvmContextBodyLength(payload: payload.count)
        beginRecord(type: LibxcRecordType.hvmContext.rawValue, length: length)
        put(little: HVMContextEntry.headerTypecode)
        put(little: UInt16(0))
        put(little: UInt32(HVMContextEntry.headerPayloadSize))
        put(little: HVMContextEntry.magic)
        put(little: HVMContextEntry.version)
        zero(HVMContextEntry.headerPayloadSize - 8)
        put(little: typecode)
        put(little: instance)
        put(little: UInt32(payload.count))
        appendRaw(payload)
        zero(HVMContextEntry.headerSize)
        appendPadding(afterBody: length)
    }

    /// HVM_CONTEXT from a blob that is whole already.
    package mutating func appendHVMContext(_ blob: UnsafeRawBufferPointer) {
        appendRecord(LibxcRecordType.hvmContext, body: blob)
    }

    // MARK: The device model

    /// EMULATOR_XENSTORE_DATA or EMULATOR_CONTEXT.
    package mutating func appendEmulator(
        _ type: LibxlRecordType,
        header: EmulatorHeader = .init(),
        content: UnsafeRawBufferPointer
    ) {
        let length = EmulatorHeader.size + content.count
        beginRecord(type: type.rawValue, length: length)
        put(little: header.id)
        put(little: header.index)
        appendRaw(content)
        appendPadding(afterBody: length)
    }
}
