import Checkpoint

/// `remusd arbiter init`, in bounded time.
package enum ArbiterPreparation {
    package enum Outcome: Sendable {
        case done(FileMarker, isNew: Bool)
        /// The file system refused.
        case failed(String)
        /// It did not answer.
        case late(String)
    }

    /// Prepares the directory of a file arbiter.
    package static func run(_ path: String, deadline: TimeSpan) -> Outcome {
        do throws(ArbiterError) {
            return try AbandonableCalls().run(within: deadline) { _ in
                do throws(ArbiterError) {
                    let (marker, isNew) = try FileMarker.prepare(path)
                    return .done(marker, isNew: isNew)
                } catch {
                    return .failed(error.description)
                }
            }
        } catch {
            return .late(error.description)
        }
    }
}
