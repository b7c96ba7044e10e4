import CXen

/// What a saving child says over its control socket (CXenSave.h).
struct SaveMessage {
    /// What it waits for an answer to.
    enum Question: Equatable, Sendable {
        /// The libraries are loaded: save?
        case ready
        /// Another round while the guest runs? Before a round `dirty` is the number of pages it would send, after one nil.
        case policy(round: UInt32, dirty: Int64?)
        /// The guest is to be suspended.
        case suspend
        /// CHECKPOINT is written: the guest may run again.
        case postcopy
        /// Another checkpoint?
        case checkpoint
        /// The device model is to log dirty pages, or to end that.
        case deviceModel(enable: Bool)
    }

    enum Content {
        case question(Question)
        case error(String)
        case done(result: UInt32, errno: Int32)
    }

    /// Bytes of every message.
    static var size: Int { MemoryLayout<CXen_save_message>.size }

    let content: Content

    /// Reads one packet; nil if it makes no sense.
    init?(_ packet: UnsafeRawBufferPointer) {
        guard packet.count == Self.size else { return nil }
        let message = packet.loadUnaligned(as: CXen_save_message.self)
        switch CXen_save_kind(message.kind) {
        case CXEN_SAVE_READY: content = .question(.ready)
        case CXEN_SAVE_POLICY:
            content = .question(
                .policy(round: message.iteration, dirty: message.dirty < 0 ? nil : message.dirty)
            )
        case CXEN_SAVE_SUSPEND: content = .question(.suspend)
        case CXEN_SAVE_POSTCOPY: content = .question(.postcopy)
        case CXEN_SAVE_CHECKPOINT: content = .question(.checkpoint)
        case CXEN_SAVE_DEVICE_MODEL: content = .question(.deviceModel(enable: message.iteration != 0))
        case CXEN_SAVE_ERROR:
            let text = withUnsafeBytes(of: message.text) { $0.prefix { $0 != 0 }.map { $0 } }
            content = .error(String(decoding: text, as: UTF8.self))
        case CXEN_SAVE_DONE:
            content = .done(result: message.iteration, errno: Int32(truncatingIfNeeded: message.dirty))
        default: return nil
        }
    }
}
