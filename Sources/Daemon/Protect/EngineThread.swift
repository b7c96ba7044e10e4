import Glibc
import Logging
import SystemSupport

/// What the thread of a guest's engine has before others: a processor, real-time priority. Nothing that it starts has them.
package struct EngineThread: Equatable, Sendable {
    /// The only processor that it runs on.
    package var processor: Int?
    /// It runs before every thread that is not real-time.
    package var isRealTime = false

    package init() {}

    /// Why it cannot be had.
    package enum Refusal: Error, Equatable, CustomStringConvertible {
        case processor(Int, allowed: [Int])
        case realTime(SystemError)

        package var description: String {
            switch self {
            case .processor(let number, let allowed):
                "--cpu \(number): this process may not run on that processor, only on \(ranges(allowed))"
            case .realTime(let error):
                "--realtime: the kernel denies real-time priority (\(String(cString: strerror(error.code)))): run as root, or with "
                    + "CAP_SYS_NICE, or leave it out"
            }
        }
    }

    /// Tries whether this thread could have it, and leaves everything as it was.
    package func check() throws(Refusal) {
        if let processor {
            let allowed = ProcessorPin.allowed
            guard allowed.contains(processor) else { throw .processor(processor, allowed: allowed) }
        }
        guard isRealTime else { return }
        let before = SchedulingPolicy.current
        do {
            try SchedulingPolicy.realTime.apply()
            try before.apply()
        } catch {
            throw .realTime(error)
        }
    }

    /// Runs `body` with it. What cannot be had any more since `check` is done without: the guest is protected all the same.
    func run<R>(_ log: Logger, _ body: () -> R) -> R {
        let before = SchedulingPolicy.current
        do throws(SystemError) {
            if let processor { try ProcessorPin.dedicate(to: processor) }
            if isRealTime { try SchedulingPolicy.realTime.apply() }
        } catch {
            log.error("--cpu and --realtime do not hold: \(error)")
        }
        defer {
            ProcessorPin.release()
            if isRealTime { try? before.apply() }
        }
        return body()
    }

    /// For the log: only what was asked for.
    var metadata: Logger.Metadata {
        var metadata = Logger.Metadata()
        if let processor { metadata["cpu"] = "\(processor)" }
        if isRealTime { metadata["realtime"] = "yes" }
        return metadata
    }
}

/// `0-3, 6`
private func ranges(_ numbers: [Int]) -> String {
    var ranges: [ClosedRange<Int>] = []
    for number in numbers {
        if let last = ranges.last, last.upperBound == number - 1 {
            ranges[ranges.count - 1] = last.lowerBound...number
        } else {
            ranges.append(number...number)
        }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
        .joined(separator: ", ")
}
