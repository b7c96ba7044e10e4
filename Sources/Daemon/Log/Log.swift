import Glibc
import Logging
import SystemSupport

/// The log of remusd's processes: standard error, for journald where that is what listens.
package enum Log {
    /// Sets swift-log up for this process. To be called once, before the first `Logger` is made.
    ///
    /// REMUSD_LOG names the least level that is written: trace, debug, info (default), notice, warning, error, critical.
    package static func bootstrap(environment: (String) -> String? = Paths.environment) {
        let wanted = environment("REMUSD_LOG").flatMap { $0.isEmpty ? nil : $0 }
        let level = wanted.flatMap { Logger.Level(rawValue: $0) }
        let journal = isJournal(environment("JOURNAL_STREAM"))
        LoggingSystem.bootstrap { label in
            StandardErrorLog(component: label, journal: journal, level: level ?? .info)
        }
        if let wanted, level == nil {
            let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            Logger(label: "remusd").warning(
                "REMUSD_LOG=\(wanted) is not a level; using info (known: \(known))"
            )
        }
    }

    /// Whether standard error is the journal: JOURNAL_STREAM holds its device and inode (systemd.exec(5)), and may be
    /// inherited by a process whose standard error is something else.
    static func isJournal(_ stream: String?) -> Bool {
        var info = stat()
        guard let stream, fstat(STDERR_FILENO, &info) == 0 else { return false }
        return stream == "\(info.st_dev):\(info.st_ino)"
    }
}

/// Writes each event as one line, by one write(2), so that lines of several processes do not mix. Waits for nobody
/// (`LogSink`).
struct StandardErrorLog: LogHandler {
    let component: String
    let journal: Bool
    /// What goes before each line: on a terminal, what a progress line has left there is erased (ECMA-48, EL).
    private let prefix = Terminal.isTerminal(STDERR_FILENO) ? "\r\u{1B}[K" : ""
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel: Logger.Level

    init(component: String, journal: Bool, level: Logger.Level) {
        self.component = component
        self.journal = journal
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
        if let own = event.metadata { all.merge(own) { _, new in new } }
        if let error = event.error { all["error"] = "\(error)" }
        LogSink.standardError.write(line(event.level, "\(event.message)", all)) { count in
            line(.warning, "\(count) lines of the log are missing here: nobody took them", [:])
        }
    }

    private func line(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> String {
        let text = LogLine.text(level, component: component, message: message, metadata: metadata)
        return journal
            ? "<\(LogLine.priority(level))>\(text)\n" : "\(prefix)\(Timestamp.nowPrecise) \(text)\n"
    }
}
