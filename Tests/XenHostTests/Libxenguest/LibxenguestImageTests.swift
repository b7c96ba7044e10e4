import CXen
import Checkpoint
import Foundation
import SystemSupport
import Testing
import XenHost
import XenStream

/// The libxc part of what `xl remus` sent, replayed as a child's work, and taken out by the harvester: the image that comes of
/// it is the same.
@Suite(.timeLimit(.minutes(10))) struct LibxenguestImageTests {
    /// The newest type and a digest of the content of each page, and the newest state.
    private struct Image: StreamHandler, Equatable {
        var pages: [UInt64: UInt64] = [:]
        var state: [UInt32: UInt64] = [:]
        var checkpoints = 0

        static func digest(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            for word in bytes.bindMemory(to: UInt64.self) { hash = (hash ^ word) &* 0x100_0000_01B3 }
            return hash
        }
        mutating func page(_ entry: PageEntry, content: UnsafeRawBufferPointer?, contentOffset: UInt64) {
            let digest = content.map { Self.digest($0) } ?? 0
            // What never was is the same as what is not there.
            pages[entry.pfn] = entry.type == .absent ? nil : digest ^ UInt64(entry.type.rawValue)
        }
        mutating func record(_ record: RecordInfo, body: UnsafeRawBufferPointer) {
            guard let type = record.libxcType, type != .checkpoint else { return }
            state[record.type] = Self.digest(UnsafeRawBufferPointer(rebasing: body[..<(body.count & ~7)]))
        }
        mutating func checkpointEnd(epoch: UInt64) { checkpoints += 1 }
    }

    @Test(arguments: RemusStreams.all)
    func isTheSameImage(_ name: String) throws {
        let file = try RemusStreams.unpacked(name)
        defer { try? FileManager.default.removeItem(at: file) }
        let data = try Data(contentsOf: file, options: .alwaysMapped)
        let expected = try data.withUnsafeBytes { bytes in
            var reader = StreamReader(options: .init(start: .xl))
            var image = Image()
            try reader.feed(bytes, to: &image)
            return image
        }
        #expect(expected.checkpoints > 10)
        let pages = Int(try #require(expected.pages.keys.max())) + 1
        let native = try NativeDouble(kind: .hvm, pageCount: pages)
        let guest = try LibxenguestGuest(native, patience: .seconds(60)) {
            try ScriptedChild { Replay(data).next }
        }
        let image = try take(guest, checkpoints: expected.checkpoints)
        #expect(image.pages == expected.pages)
        #expect(image.state == expected.state)
        #expect(image.checkpoints == expected.checkpoints)
    }

    /// Leads a session as the engine does, and reads what it stages as a standby does.
    private func take(_ guest: LibxenguestGuest, checkpoints: Int) throws -> Image {
        let pages = guest.description.pageCount
        let state = guest.stateCapacity + 4096
        let memory = try Mapping.anonymous(count: Staging.capacity(pages: pages, stateCapacity: state))
        var harvester = Harvester(guest: guest, memory: memory.bytes, stateCapacity: state)
        var reader = StreamReader(options: .init(start: .xl, lifecycle: .checkpointed))
        var image = Image()
        try harvester.startTracking()
        for round in 0..<2 {
            try harvester.beginSync(epoch: 0, whole: round == 0)
            sync: while let step = try harvester.nextSyncStep() {
                switch step {
                case .piece: try reader.feed(harvester.bytes, to: &image)
                case .wait:
                    _ = Poll.wait(guest.eventDescriptor, milliseconds: 1000)
                    #expect(guest.ended() == nil)
                case .done: break sync
                }
            }
        }
        for _ in 0..<checkpoints {
            try guest.requestSuspend()
            while try guest.suspendOutcome() == nil {
                _ = Poll.wait(guest.eventDescriptor, milliseconds: 1000)
            }
            guard case .whole = harvester.harvest(isLate: { false }) else {
                Issue.record("no whole checkpoint")
                return image
            }
            harvester.cut()
            try guest.resume()
            try reader.feed(harvester.bytes, to: &image)
            harvester.committed()
        }
        try reader.finish()
        guest.stopDirtyTracking()
        return image
    }
}

/// An xl Remus stream as the steps of a child: the libxc part, with the questions where libxenguest asks them.
private final class Replay {
    private let data: Data
    private var at: Int
    private var queue: [ScriptedChild.Step] = [.ask(CXEN_SAVE_READY)]
    private var isFirstPage = true, isSuspended = false, isInitial = true

    init(_ data: Data) {
        self.data = data
        // The xl header and its optional data, the libxl header, LIBXC_CONTEXT; then the two headers of libxc.
        at = 48 + Int(Replay.word(data, 44)) + 16 + 8
        write(40)
    }

    private static func word(_ data: Data, _ offset: Int) -> UInt32 {
        data.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
    }

    private func write(_ count: Int) {
        queue.append(.write([UInt8](data[at..<at + count])))
        at += count
    }

    func next() -> ScriptedChild.Step? {
        if queue.isEmpty { takeRecord() }
        return queue.isEmpty ? nil : queue.removeFirst()
    }

    private func takeRecord() {
        guard at < data.count else { return }
        let length = Int(Replay.word(data, at + 4))
        let whole = 8 + (length + 7) & ~7
        let type = LibxcRecordType(rawValue: Replay.word(data, at))
        switch type {
        case .pageData where isFirstPage:
            isFirstPage = false
            queue.append(.ask(CXEN_SAVE_POLICY, round: 0, dirty: 1))
        case .pageData where !isInitial: suspend()
        case .x86TSCInfo where isInitial:
            // Where its live rounds ended is not to be seen in a stream: the newest page again stands for the rest.
            queue.append(.rounds)
            suspend()
            queue.append(.write(SampleScript.onePage([UInt8](data[at - guestPageSize..<at]), pfn: lastPFN)))
            isInitial = false
        case .x86TSCInfo: suspend()
        default: break
        }
        if type == .pageData { noteLast() }
        write(whole)
        if type == .checkpoint {
            queue += [.ask(CXEN_SAVE_POSTCOPY), .ask(CXEN_SAVE_CHECKPOINT)]
            isSuspended = false
            // libxl's part, up to its CHECKPOINT_END.
            while Replay.word(data, at) != 4 { at += 8 + (Int(Replay.word(data, at + 4)) + 7) & ~7 }
            at += 8
        }
    }

    private func suspend() {
        if !isSuspended { queue.append(.ask(CXEN_SAVE_SUSPEND)) }
        isSuspended = true
    }

    /// The last page with content of the record at hand.
    private var lastPFN: UInt64 = 0

    private func noteLast() {
        for index in (0..<Int(Replay.word(data, at + 8))).reversed() {
            let low = UInt64(Replay.word(data, at + 16 + 8 * index))
            let high = UInt64(Replay.word(data, at + 20 + 8 * index))
            guard let entry = PageEntry(encoded: high << 32 | low), entry.type.carriesData else { continue }
            lastPFN = entry.pfn
            return
        }
    }
}

/// Streams that `xl remus` sent: where `REMUSD_TEST_IMAGES` says, else beside the project.
private enum RemusStreams {
    private static let folder: URL? = {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let candidates = [
            ProcessInfo.processInfo.environment["REMUSD_TEST_IMAGES"].map { URL(filePath: $0) },
            root.appending(path: "../shared/data").standardized,
        ]
        return candidates.compactMap { $0 }.first { !streams(in: $0).isEmpty }
    }()

    static let all: [String] = {
        guard let folder else {
            print(
                "no streams of Xen's own: REMUSD_TEST_IMAGES is not set; only the project's samples are replayed"
            )
            return []
        }
        guard (try? zstd(["--version"], to: .nullDevice)) == 0 else {
            print("streams of Xen's own are not replayed: zstd is missing")
            return []
        }
        return streams(in: folder)
    }()

    private static func streams(in folder: URL) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path())) ?? []
        return names.filter { $0.hasPrefix("xl-remus-pvh") && $0.hasSuffix(".zst") }.sorted()
    }

    private static func zstd(_ arguments: [String], to output: FileHandle) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["zstd"] + arguments
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    static func unpacked(_ name: String) throws -> URL {
        let file = FileManager.default.temporaryDirectory.appending(
            path: "remusd-\(UUID().uuidString).stream"
        )
        let packed = try #require(folder).appending(path: name).path()
        #expect(try zstd(["-dq", "--long=27", packed, "-o", file.path()], to: .nullDevice) == 0)
        return file
    }
}
