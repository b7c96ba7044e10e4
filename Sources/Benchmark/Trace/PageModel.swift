import Daemon
import SystemSupport

/// What simple encodings make of a trace's pages: bench/page-model.c says how each is computed.
package struct PageModel: Decodable, Equatable, Sendable {
    package let workload: String
    /// The trace's path.
    package let trace: String
    /// How many pages it has.
    package let pages: Int
    /// Bytes a page, the mean over these: as they are, pfn included.
    package let raw: Double
    /// Of LZ4 alone.
    package let lz4: Double
    /// Of the smaller of LZ4 and run-length coded differences, none for a page of zeros.
    package let model: Double

    /// Those of the traces that scripts/bench found or had recorded.
    /// - Parameter tools: the folder where it says so.
    package static func recorded(in tools: String?) throws -> [PageModel] {
        guard let tools, let models = try? read("\(tools)/traces.jsonl"), !models.isEmpty else {
            throw BenchError("there are no traces of real guests: 'scripts/bench record' says why")
        }
        return models
    }

    /// Reads what `bench/model.py --output json` printed: a model for each line.
    package static func read(_ path: String) throws -> [PageModel] {
        guard let bytes = SmallFile.readBytes(path) else { throw SystemError("read \(path)") }
        return try bytes.split(separator: UInt8(ascii: "\n")).map {
            try ControlJSON.decode(PageModel.self, from: Array($0))
        }
    }
}
