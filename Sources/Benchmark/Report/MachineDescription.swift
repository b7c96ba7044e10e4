import Daemon
import Glibc
import SystemSupport

/// What a run ran on.
package struct MachineDescription: Codable, Equatable, Sendable {
    package var processor: String
    /// Those that this process may run on.
    package var processors: Int
    package var memoryBytes: UInt64
    package var kernel: String
    /// /sys/kernel/mm/transparent_hugepage/enabled; empty where there is none.
    package var hugePages: String
    /// The load of one minute (proc(5), loadavg) when the run began: above a tenth, somebody else was at work.
    package var load: Double
    package var date: String

    /// This machine, now.
    package static func current() -> MachineDescription {
        var info = utsname()
        uname(&info)
        let kernel = withUnsafeBytes(of: &info.release) { text($0) }
        let load = (SmallFile.read("/proc/loadavg") ?? "").split(separator: " ").first.flatMap { Double($0) }
        return MachineDescription(
            processor: field("model name", in: SmallFile.read("/proc/cpuinfo") ?? "") ?? "unknown",
            processors: ProcessorPin.allowed.count,
            memoryBytes: (field("MemTotal", in: SmallFile.read("/proc/meminfo") ?? "") ?? "")
                .split(separator: " ").first.flatMap { UInt64($0) }.map { $0 * 1024 } ?? 0,
            kernel: kernel,
            hugePages: chosen(in: SmallFile.read("/sys/kernel/mm/transparent_hugepage/enabled") ?? ""),
            load: load ?? 0,
            date: Timestamp.now
        )
    }

    /// The value of the first `NAME: value` line.
    static func field(_ name: String, in text: String) -> String? {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, trimmed(parts[0]) == name else { continue }
            return trimmed(parts[1])
        }
        return nil
    }

    /// The word in brackets.
    static func chosen(in text: String) -> String {
        guard let open = text.firstIndex(of: "["), let close = text.firstIndex(of: "]"), open < close else {
            return ""
        }
        return String(text[text.index(after: open)..<close])
    }

    private static func trimmed(_ text: Substring) -> String {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        return String(text.drop(while: blank).reversed().drop(while: blank).reversed())
    }

    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
