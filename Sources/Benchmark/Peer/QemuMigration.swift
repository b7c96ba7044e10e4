import Daemon

/// QEMU's plain migration of memory like ours, between two of its processes over a unix socket (bench/qemu-migration.py).
struct QemuMigration {
    /// For the table.
    static let name = "QEMU's migration"
    static let program = "qemu-migration.py"

    /// Where the program is.
    let path: String
    let placement: Placement

    /// What it prints.
    struct Found: Decodable, Equatable {
        struct Round: Decodable, Equatable {
            /// By the clock, from the order to QEMU's word that it is done.
            let seconds: Double
        }

        let memoryBytes: Int
        let rounds: [Round]

        enum CodingKeys: String, CodingKey {
            case memoryBytes = "memory_bytes"
            case rounds
        }
    }

    /// Migrates once.
    /// - Parameters:
    ///   - mib: MiB of the guest's memory.
    ///   - zeros: of its pages.
    /// - Returns: seconds that it took.
    func migrate(mib: Int, _ zeros: ZeroPages) throws -> Double {
        let arguments = [
            "--memory", "\(mib)", "--zero", "\(zeros.percent)", "--rounds", "1", "--output", "json", "--cpus",
            "\(placement.primary),\(placement.standby)",
        ]
        let process = try HelperProcess(Self.name, path, arguments, printsLines: true)
        defer { process.end() }
        // The first time, it may have to install QEMU.
        guard let line = try process.lines.hear(seconds: 300) else {
            throw BenchError("\(Self.name) came to nothing; standard error has the reason")
        }
        return try Self.seconds(line, mib: mib)
    }

    /// What one line of it says.
    static func seconds(_ line: String, mib: Int) throws -> Double {
        let found = try ControlJSON.decode(Found.self, from: Array(line.utf8))
        guard found.memoryBytes == mib << 20, found.rounds.count == 1,
            let seconds = found.rounds.first?.seconds,
            seconds > 0
        else { throw BenchError("\(name) said '\(line)'") }
        return seconds
    }
}
