import Checkpoint
import Glibc
import SystemSupport

/// Suspends a guest together with its device model: the vcpus, then the emulated devices, and back the other way round
/// (xen-operations.md, sections 3.3 and 5).
///
/// What can be done before is done before: a device model that does not answer costs no pause. In the pause it has `maxPause`
/// to stop and to save its state; what fails then fails the checkpoint, by way of `requireSaved`, and the guest goes on as
/// after any checkpoint that is abandoned.
package final class HVMSuspension: DomainSuspension {
    private enum Pause {
        case none
        /// The device model is made ready; nothing is asked of the guest.
        case preparing
        /// The guest was asked to suspend.
        case asked
        /// The vcpus stand still; the devices stop and are saved.
        case saving
        /// So they are, or that has failed.
        case suspended
    }

    /// How long one attempt to let the guest run waits for the device model, in nanoseconds.
    private static let attempt: UInt64 = 200_000_000
    /// How often it is looked after while something of it is due.
    private static let lookInterval: UInt64 = 5_000_000

    /// Since when the vcpus have stood still (`Clock.boot`), while they do.
    package private(set) var suspendedSince: Instant?
    private let vcpus: any DomainSuspension
    private let model: DeviceModel
    private let guest: String
    private let maxPause: TimeSpan
    private let events: Epoll
    private let timer: TimerFD
    private var pause = Pause.none
    /// Until when the state may come (`Clock.monotonic`).
    private var deadline: UInt64 = 0
    /// Since when the guest ought to run, if it does not.
    private var owedSince: UInt64?

    /// - Parameters:
    ///   - vcpus: the domain's own suspending.
    ///   - maxPause: how long the vcpus may stand still for a state of the devices.
    package init(
        _ vcpus: any DomainSuspension,
        _ model: DeviceModel,
        guest: String,
        maxPause: TimeSpan
    ) throws(GuestError) {
        (self.vcpus, self.model, self.guest, self.maxPause) = (vcpus, model, guest, maxPause)
        do throws(SystemError) {
            timer = try TimerFD()
            events = try Epoll()
            try events.add(timer.descriptor, .readable, token: 0)
            try events.add(raw: vcpus.eventDescriptor, .readable, token: 1)
            try events.add(raw: model.eventDescriptor, .readable, token: 2)
        } catch {
            throw GuestError(guest: guest, reason: "\(error)")
        }
    }

    package var eventDescriptor: Int32 { events.descriptor.raw }
    package var isSuspended: Bool { vcpus.isSuspended }

    /// Throws if the guest is suspended without a state of its devices.
    package func requireSaved() throws(GuestError) {
        if isSuspended, let failure = model.failure { throw error(failure) }
    }

    // MARK: Suspending

    package func request() throws(GuestError) {
        if owedSince != nil { try letRun(within: 0) }
        guard pause == .none else { return }
        do throws(QMPError) { try model.begin() } catch { throw self.error(error) }
        pause = .preparing
    }

    package func outcome() throws(GuestError) -> SuspendOutcome? {
        timer.drain()
        model.advance()
        if pause == .preparing {
            if let failure = model.failure {
                forgetRequest()
                throw error(failure)
            }
            guard model.isReady else { return nil }
            try orForget { () throws(GuestError) in try vcpus.request() }
            pause = .asked
        }
        if pause == .asked {
            guard let outcome = try orForget({ () throws(GuestError) in try vcpus.outcome() }) else {
                return nil
            }
            guard outcome == .suspended else {
                forgetRequest()
                return outcome
            }
            suspendedSince = Instant(nanoseconds: Clock.boot)
            deadline = Clock.monotonic + maxPause.nanoseconds
            pause = .saving
            timer.repeats(every: Self.lookInterval)
            model.stopAndSave()
        }
        if pause == .saving {
            if !model.isSaved, Clock.monotonic >= deadline { model.failLate() }
            guard model.isSaved || model.failure != nil else { return nil }
            timer.stop()
            pause = .suspended
        }
        return pause == .suspended ? .suspended : nil
    }

    private func orForget<R>(_ body: () throws(GuestError) -> R) throws(GuestError) -> R {
        do throws(GuestError) {
            return try body()
        } catch {
            forgetRequest()
            throw error
        }
    }

    /// Nothing is asked of the guest any more, and it has not suspended.
    private func forgetRequest() {
        pause = .none
        suspendedSince = nil
        model.finish()
    }

    package func cancel() {
        switch pause {
        case .none: vcpus.cancel()
        case .preparing: forgetRequest()
        case .asked:
            vcpus.cancel()
            forgetRequest()
        // What does not go on now is looked after until it does.
        case .saving, .suspended: try? letRun(within: Self.attempt)
        }
    }

    // MARK: Going on

    package func resume() throws(GuestError) {
        switch pause {
        case .preparing, .asked: cancel()
        case .none where owedSince == nil: try vcpus.resume()
        case .none, .saving, .suspended: try letRun(within: Self.attempt)
        }
    }

    /// The devices first: vcpus whose devices are stopped read ones from them. Waits for the device model for `limit` nanoseconds.
    /// - Throws: if the guest does not run yet; it is to be tried again.
    private func letRun(within limit: UInt64) throws(GuestError) {
        let began = Clock.monotonic
        let since = owedSince ?? began
        owedSince = since
        timer.repeats(every: Self.lookInterval)
        if model.goOn(until: began + limit) == .silent {
            guard Clock.monotonic - since >= model.patience else {
                throw GuestError(guest: guest, reason: "its device model does not say that it goes on")
            }
        }
        try vcpus.resume()
        owedSince = nil
        timer.stop()
        forgetRequest()
    }

    package func checkEnd() -> GuestEnd? {
        // While a suspend is on its way, what is taken here would not be seen by `outcome`.
        if pause == .none || owedSince != nil {
            timer.drain()
            model.advance()
        }
        if let end = vcpus.checkEnd() {
            owedSince = nil
            timer.stop()
            return end
        }
        if owedSince != nil { try? letRun(within: 0) }
        return nil
    }

    package func settle(within limit: UInt64) {
        let end = Clock.monotonic + limit
        cancel()
        while owedSince != nil, Clock.monotonic < end {
            usleep(5000)
            try? letRun(within: min(Self.attempt, end - min(end, Clock.monotonic)))
        }
        // Whatever became of the devices.
        vcpus.settle(within: end - min(end, Clock.monotonic))
        owedSince = nil
        forgetRequest()
    }

    private func error(_ error: QMPError) -> GuestError {
        GuestError(guest: guest, reason: "its device model: \(error)")
    }
}
