/// Turns the last committed state of a checkpointed stream into one plain xl image, which `xl restore` takes.
///
/// The image has no CHECKPOINT records; holes are left out; everything else is the newest of one committed checkpoint,
/// in the order that the libxc stream spec demands (HVM_PARAMS before HVM_CONTEXT). Memory is not copied as a whole: one
/// batch of 4 MiB is on its way at a time.
package enum PlainImage {
    /// Why an image could not be made.
    package enum Problem: Error, Equatable, Sendable, CustomStringConvertible {
        /// A section's records do not have whole headers and bodies.
        case damagedSection(CommittedSection)

        /// One line for an operator.
        package var description: String {
            switch self {
            case .damagedSection(let section): "the image's \(section) are not whole records"
            }
        }
    }

    /// The order of state records in an image.
    private static let stateOrder: [[LibxcRecordType]] = [
        [.x86TSCInfo], [.sharedInfo],
        [.x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave, .x86PVVcpuMSRs],
        [.hvmParams], [.hvmContext],
    ]

    /// Writes the image of `state` into `sink`, piece by piece; the pieces are valid during the call only.
    /// - Parameter config: the configuration that xl shall find in it, libxl's JSON without a NUL; nil for the guest's own.
    package static func write<State: CommittedState>(
        _ state: State,
        config: [UInt8]? = nil,
        to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        func head(_ json: UnsafeRawBufferPointer) throws {
            try write(StreamWriter.xlHeaderLength(json: json.count), to: sink) {
                $0.appendXLHeader(json: json)
            }
        }
        if let config {
            try config.withUnsafeBytes { try head($0) }
        } else {
            try state.withSection(.config) { try head($0) }
        }
        try write(1024, to: sink) {
            $0.appendLibxlHeader()
            $0.appendRecord(LibxlRecordType.libxcContext)
            $0.appendImageHeader()
            $0.appendDomainHeader(state.domainHeader)
        }
        try copy(state, .staticRecords, [[.x86PVInfo], [.x86CPUIDPolicy], [.x86MSRPolicy]], to: sink)
        try write(64, to: sink) { $0.appendRecord(LibxcRecordType.staticDataEnd) }
        try copy(state, .p2mFrames, [[.x86PVP2MFrames]], to: sink)
        try writePages(state, to: sink)
        try copy(state, .stateRecords, stateOrder, to: sink)
        try write(64, to: sink) { $0.appendRecord(LibxcRecordType.end) }
        try copyEmulator(state, to: sink)
        try write(64, to: sink) { $0.appendRecord(LibxlRecordType.end) }
    }

    private static func write(
        _ capacity: Int,
        to sink: (UnsafeRawBufferPointer) throws -> Void,
        _ body: (inout StreamWriter) -> Void
    ) throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
        defer { memory.deallocate() }
        var writer = StreamWriter(memory)
        body(&writer)
        try sink(writer.written)
    }

    private static func writePages<State: CommittedState>(
        _ state: State,
        to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var batch = PageBatch()
        var next: UInt64? = 0
        while let first = next {
            next = try state.fill(&batch, from: first)
            try batch.flush(to: sink)
        }
    }

    /// Copies a section's libxc records, those of the first group first; other types are dropped.
    private static func copy<State: CommittedState>(
        _ state: State,
        _ section: CommittedSection,
        _ groups: [[LibxcRecordType]],
        to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try state.withSection(section) { bytes in
            for group in groups {
                try eachRecord(bytes, section) { type, record in
                    if let type = LibxcRecordType(rawValue: type), group.contains(type) { try sink(record) }
                }
            }
        }
    }

    private static func copyEmulator<State: CommittedState>(
        _ state: State,
        to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try state.withSection(.emulatorRecords) { bytes in
            for wanted in [LibxlRecordType.emulatorXenstoreData, .emulatorContext] {
                try eachRecord(bytes, .emulatorRecords) { type, record in
                    if type == wanted.rawValue { try sink(record) }
                }
            }
        }
    }

    private static func eachRecord(
        _ bytes: UnsafeRawBufferPointer,
        _ section: CommittedSection,
        _ body: (UInt32, UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var position = 0
        while position < bytes.count {
            guard let base = bytes.baseAddress, bytes.count - position >= RecordFraming.headerSize else {
                throw Problem.damagedSection(section)
            }
            let head = base + position
            let length = StreamWriter.recordLength(body: Int(head.u32(4)))
            guard length <= bytes.count - position else { throw Problem.damagedSection(section) }
            try body(head.u32(0), UnsafeRawBufferPointer(rebasing: bytes[position..<position + length]))
            position += length
        }
    }
}
