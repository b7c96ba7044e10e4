import Checkpoint
import Glibc
import SystemSupport
import Testing
import XenHost
import XenStream

/// The second engine over a native guest that is not there and children that are scripted.
final class Rig {
    let native: NativeDouble
    let guest: LibxenguestGuest
    var children: [ScriptedChild] { launches.children }
    private let launches = Launches()

    private final class Launches {
        var children: [ScriptedChild] = []
    }

    /// `script` gives the steps of each child, by its number.
    init(
        kind: GuestKind,
        pages: Int,
        patience: TimeSpan = .seconds(20),
        _ script: @escaping (Int) throws -> ScriptedChild
    ) throws {
        native = try NativeDouble(kind: kind, pageCount: pages)
        let launches = launches
        guest = try LibxenguestGuest(native, patience: patience) {
            let child = try script(launches.children.count)
            launches.children.append(child)
            return child
        }
    }

    convenience init(_ script: SampleScript, patience: TimeSpan = .seconds(20)) throws {
        try self.init(kind: script.kind, pages: script.sample.pages, patience: patience) { _ in
            try ScriptedChild(script.steps)
        }
    }

    /// Asks to suspend and waits, as the engine does, by the event descriptor.
    func suspend(within milliseconds: UInt64 = 20_000) throws -> SuspendOutcome? {
        try guest.requestSuspend()
        return try outcome(within: milliseconds)
    }

    func outcome(within milliseconds: UInt64 = 20_000) throws -> SuspendOutcome? {
        let deadline = Clock.monotonic + milliseconds * 1_000_000
        while Clock.monotonic < deadline {
            if let outcome = try guest.suspendOutcome() { return outcome }
            _ = Poll.wait(guest.eventDescriptor, milliseconds: 100)
        }
        return nil
    }

    func dirty() throws -> Set<UInt64> {
        var bitmap = PageBitmap(pageCount: native.description.pageCount)
        try guest.collectDirty(into: &bitmap)
        return Set((0..<native.description.pageCount).filter { bitmap.contains($0) }.map { UInt64($0) })
    }

    /// Copies pages out.
    func copy(_ pfns: [UInt64]) throws -> [UInt64: (type: PageType, content: [UInt8])] {
        var types = [PageType](repeating: .broken, count: pfns.count)
        var contents = [UInt8](repeating: 0, count: pfns.count * guestPageSize)
        let count = try types.withUnsafeMutableBufferPointer { types in
            try contents.withUnsafeMutableBytes { contents in
                try pfns.withUnsafeBufferPointer {
                    try guest.copyPages($0, types: types, into: #require(contents.baseAddress))
                }
            }
        }
        var result: [UInt64: (type: PageType, content: [UInt8])] = [:]
        var at = 0
        for (pfn, type) in zip(pfns, types) {
            let content = type.carriesData ? Array(contents[at..<at + guestPageSize]) : []
            at += content.count
            result[pfn] = (type, content)
        }
        #expect(at == count * guestPageSize)
        return result
    }

    func records(_ body: (inout StreamWriter) throws -> Void) rethrows -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 8)
        defer { memory.deallocate() }
        var writer = StreamWriter(memory)
        try body(&writer)
        return Array(writer.written)
    }
}

func isSame(
    _ a: [UInt64: (type: PageType, content: [UInt8])],
    _ b: [UInt64: (type: PageType, content: [UInt8])]
) -> Bool {
    a.count == b.count && a.allSatisfy { pfn, page in b[pfn].map { $0 == page } ?? false }
}
