import Foundation
import Testing

/// The package's root.
let packageRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

/// A folder that is removed with its owner.
final class TemporaryFolder {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "remusd-stream-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }
}

/// Runs a program to its end; nil if it cannot be started.
func run(_ program: String, _ arguments: [String]) -> (status: Int32, output: String)? {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [program] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    guard (try? process.run()) != nil else { return nil }
    let output = (try? pipe.fileHandleForReading.readToEnd()) ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}

/// Images that Xen's own tools wrote, packed: where `REMUSD_TEST_IMAGES` says, else beside the project.
enum XenImages {
    static let folder: URL? = {
        let environment = ProcessInfo.processInfo.environment["REMUSD_TEST_IMAGES"]
        let candidates = [
            environment.map { URL(filePath: $0) }, packageRoot.appending(path: "../shared/data").standardized,
        ]
        for candidate in candidates.compactMap({ $0 }) where !packed(in: candidate).isEmpty {
            print("Xen's own images are taken from \(candidate.path())")
            return candidate
        }
        print("no images of Xen's own: REMUSD_TEST_IMAGES is not set; only the project's samples are read")
        return nil
    }()

    static let all: [String] = {
        guard let folder else { return [] }
        guard run("zstd", ["--version"])?.status == 0 else {
            print("Xen's own images are not read: zstd is missing")
            return []
        }
        return packed(in: folder).map(\.lastPathComponent).sorted()
    }()

    private static func packed(in folder: URL) -> [URL] {
        let files = try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        return (files ?? []).filter { $0.pathExtension == "zst" }
    }

    /// Unpacks an image piece by piece.
    static func unpack(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        guard let folder else { return }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["zstd", "-dcq", "--long=27", folder.appending(path: name).path()]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        while let data = try pipe.fileHandleForReading.read(upToCount: 1 << 20), !data.isEmpty {
            try data.withUnsafeBytes(body)
        }
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }
}
