import Checkpoint
import Glibc
import Logging

/// What must not fail for good: orders to the output buffer, and the guest's resume.
extension ProtectEngine {
    func resume() {
        do throws(GuestError) {
            try guest.resume()
            resumeOwed = false
            let pause = now - pauseBegan
            meter { $0.recordPause(pause) }
            events.append(.resumed)
        } catch {
            if guestEndSeen || guest.ended() != nil { return }
            resumeOwed = true
            events.append(.resumeFailed(error.description))
        }
    }

    func order(_ order: OutputOrders.Order) {
        do throws(GuestError) {
            try orders.give(order, at: now)
        } catch {
            // A guest that is gone fails everything; its end is said elsewhere.
            let guestHasEnded = guestEndSeen || guest.ended() != nil
            log.log(
                level: guestHasEnded ? .debug : .error,
                "an order about held output failed and is given again: \(error)"
            )
        }
    }

    func retryOrder() {
        do throws(GuestError) {
            if try orders.retry(at: now) { log.notice("what failed with held output was done now") }
        } catch {
            log.debug("\(error)")
        }
    }

    /// The machine has finished: what it ordered and what failed is tried on for a bounded time.
    func finishOrders() {
        let aftermath = Aftermath(began: now)
        while resumeOwed || orders.owed != nil {
            let guestHasEnded = guestEndSeen || guest.ended() != nil
            if guestHasEnded { resumeOwed = false }
            guard resumeOwed || orders.owed != nil,
                aftermath.goesOn(at: now, guestHasEnded: guestHasEnded)
            else { break }
            publish(false)
            usleep(UInt32(min(options.settings.retry.nanoseconds, 1_000_000_000) / 1000))
            if resumeOwed { resume() }
            retryOrder()
        }
        for words in Aftermath.words(
            owed: orders.owed,
            isSuspended: resumeOwed,
            guestHasEnded: guestEndSeen || guest.ended() != nil,
            guest: guest.description.name
        ) {
            log.critical("\(words)")
        }
    }
}
