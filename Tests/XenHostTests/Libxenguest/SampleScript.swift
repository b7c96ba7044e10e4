import CXen
import Checkpoint
import XenStream

/// What libxenguest would write and ask for a sample guest.
struct SampleScript {
    let sample: SampleStream
    let kind: GuestKind
    /// The whole session, question by question and record by record.
    var steps: [ScriptedChild.Step] = []
    /// What is known of the guest after each checkpoint.
    private(set) var epochs: [Epoch] = []
    private(set) var staticBytes: [UInt8] = []

    struct Epoch {
        /// pfn → type and content as sent in this epoch.
        var pages: [UInt64: (type: PageType, content: [UInt8])] = [:]
        var state: [UInt8] = []
    }

    init(_ guest: SampleStream.Guest, pages: Int = 24, checkpoints: Int = 3, seed: UInt64 = 1) {
        sample = SampleStream(guest, pages: pages, checkpoints: checkpoints, seed: seed, outermost: .libxc)
        kind = guest == .hvm ? .hvm : .pv
        steps.append(.ask(CXEN_SAVE_READY))
        var epoch = Epoch()
        var isFirstPage = true
        var isSuspended = false
        func suspend(_ steps: inout [ScriptedChild.Step]) {
            guard !isSuspended else { return }
            isSuspended = true
            steps.append(.ask(CXEN_SAVE_SUSPEND))
        }
        for piece in sample.pieces() {
            let type = Self.type(piece)
            switch type {
            case .pageData:
                if isFirstPage {
                    steps.append(.ask(CXEN_SAVE_DEVICE_MODEL, round: 1))
                    steps.append(.ask(CXEN_SAVE_POLICY, round: 0, dirty: Int64(pages)))
                }
                isFirstPage = false
                if !epochs.isEmpty { suspend(&steps) }
                Self.read(piece, into: &epoch)
            case .x86PVInfo, .x86CPUIDPolicy, .x86MSRPolicy, .staticDataEnd, .x86PVP2MFrames:
                staticBytes += piece
            case .checkpoint, nil: break
            default:
                if epoch.state.isEmpty, epochs.isEmpty {
                    steps.append(.rounds)
                    suspend(&steps)
                    // Something is always dirty after a suspend.
                    let again = Self.onePage(epoch.pages[0]?.content ?? [])
                    steps.append(.write(again))
                }
                suspend(&steps)
                epoch.state += piece
            }
            steps.append(.write(piece))
            if type == .checkpoint {
                steps += [.ask(CXEN_SAVE_POSTCOPY), .ask(CXEN_SAVE_CHECKPOINT)]
                isSuspended = false
                epochs.append(epoch)
                epoch = Epoch()
            }
        }
    }

    /// Everything sent up to checkpoint `count`.
    func memory(after count: Int) -> [UInt64: (type: PageType, content: [UInt8])] {
        var memory: [UInt64: (type: PageType, content: [UInt8])] = [:]
        for epoch in epochs.prefix(count) { memory.merge(epoch.pages) { $1 } }
        return memory
    }

    static func onePage(_ content: [UInt8], pfn: UInt64 = 0, type: PageType = .normal) -> [UInt8] {
        Array(unsafeUninitializedCapacity: 8192) { buffer, count in
            var writer = StreamWriter(UnsafeMutableRawBufferPointer(buffer))
            let at = [PageEntry(pfn: pfn, type: type)].withUnsafeBufferPointer { writer.beginPageData($0) }
            for (index, byte) in content.enumerated() where type.carriesData {
                writer.memory[at + index] = byte
            }
            count = writer.count
        }
    }

    private static func type(_ piece: [UInt8]) -> LibxcRecordType? {
        // The image header begins with eight bytes 0xff, the domain header with its type and a page shift of 12.
        guard piece.count >= 8, !(piece.count == 16 && piece[4] == 12 && piece[8] == 4 && piece[12] == 17)
        else {
            return nil
        }
        return LibxcRecordType(rawValue: piece.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) })
    }

    private static func read(_ piece: [UInt8], into epoch: inout Epoch) {
        let count = Int(piece.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8, as: UInt32.self) })
        var at = 16 + 8 * count
        for index in 0..<count {
            let encoded = piece.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: 16 + 8 * index, as: UInt64.self)
            }
            guard let entry = PageEntry(encoded: encoded) else { continue }
            guard entry.type.carriesData else {
                epoch.pages[entry.pfn] = (entry.type, [])
                continue
            }
            epoch.pages[entry.pfn] = (entry.type, Array(piece[at..<at + guestPageSize]))
            at += guestPageSize
        }
    }
}
