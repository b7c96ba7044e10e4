import Glibc
import Synchronization
import SystemSupport

/// Shows progress on standard error: a line redrawn in place on a terminal, a line every 5 s elsewhere.
/// Any thread may update it.
package final class ProgressLine: Sendable {
    private struct State {
        var started: UInt64
        var firstDone: UInt64?
        var shown: UInt64
        var visible = false
        var ended = false
    }

    private let label: String
    private let terminal: Bool
    private let pace: UInt64
    private let state: Mutex<State>

    /// - Parameter label: `syncing web1`.
    package init(label: String) {
        self.label = label
        terminal = Terminal.isTerminal(STDERR_FILENO)
        pace = terminal ? 100_000_000 : 5_000_000_000
        let now = Clock.monotonic
        state = Mutex(State(started: now, shown: now))
    }

    /// Shows that `done` of `total` bytes are done (`total` 0: not known), unless it was shown a moment ago.
    package func update(done: UInt64, total: UInt64) {
        let now = Clock.monotonic
        state.withLock { state in
            let first = state.firstDone ?? done
            state.firstDone = first
            guard !state.ended, now - state.shown >= pace else { return }
            state.shown = now
            state.visible = true
            write(done, total, since: state.started, first: first, now, end: terminal ? "" : "\n")
        }
    }

    /// Shows the last word, if anything was shown before, and leaves the line.
    package func finish(done: UInt64, total: UInt64) {
        let now = Clock.monotonic
        state.withLock { state in
            guard !state.ended else { return }
            state.ended = true
            guard state.visible else { return }
            write(done, total, since: state.started, first: state.firstDone ?? 0, now, end: "\n")
        }
    }

    /// Leaves the line as it is: what follows is an error or another matter.
    package func abandon() {
        state.withLock { state in
            if !state.ended, state.visible, terminal { put("\n") }
            state.ended = true
        }
    }

    private func write(
        _ done: UInt64,
        _ total: UInt64,
        since: UInt64,
        first: UInt64,
        _ now: UInt64,
        end: String
    ) {
        let elapsed = Double(now &- since) / 1e9
        let rate = elapsed > 0.2 && done >= first ? UInt64(Double(done - first) / elapsed) : nil
        let columns = terminal ? Terminal.columns(STDERR_FILENO) - 1 : 120
        let text = ProgressText.line(label: label, done: done, total: total, rate: rate, columns: columns)
        put(terminal ? "\r\(text)\u{1B}[K\(end)" : text + end)
    }

    private func put(_ text: String) { LogSink.standardError.offer(text) }
}
