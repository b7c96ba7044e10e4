import Checkpoint
import Glibc
import Logging

/// What must not fail for good: orders to the output buffer, the guest's resume, and the note that a copy is outdated.
extension ProtectEngine {
    /// What the machine is told of a failure.
    static func event(of error: GuestError) -> ProtectEvent {
        error.voidsTracking ? .trackingLost(error.description) : .failed(error.description)
    }

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

    func storeAloneAfter() {
        do {
            try records.storeAloneAfter()
        } catch {
            // The longer time that stays there is the safe one; the next write of the record makes up for it.
            log.warning("cannot note the new alone-after: \(error)")
        }
    }

    func storeOutdated(_ generation: UInt64) {
        do {
            try records.storeOutdated(by: generation)
            if unstoredOutdated != nil { log.notice("noted that this copy is outdated") }
            unstoredOutdated = nil
        } catch {
            if unstoredOutdated == nil {
                log.error("cannot note that generation \(generation) outdated this copy, yet: \(error)")
            }
            unstoredOutdated = generation
            retryStoreAt = now + .seconds(1)
        }
    }

    func retryStoreOutdated() {
        if let generation = unstoredOutdated, now >= retryStoreAt { storeOutdated(generation) }
    }

    /// The machine has finished: what it ordered and what failed is tried on for a bounded time.
    func finishOrders() {
        let aftermath = Aftermath(began: now)
        var isOwed: Bool {
            resumeOwed || standstill.owesRun || orders.owed != nil || unstoredOutdated != nil
        }
        while isOwed {
            let guestHasEnded = guestEndSeen || guest.ended() != nil
            if guestHasEnded { (resumeOwed, standstill.trouble) = (false, nil) }
            guard isOwed, aftermath.goesOn(at: now, guestHasEnded: guestHasEnded) else { break }
            publish(false)
            usleep(UInt32(min(options.settings.retry.nanoseconds, 1_000_000_000) / 1000))
            if resumeOwed { resume() }
            retryStandstill()
            // An interface that is being taken away waits for what is held of it.
            attendOutput()
            retryOrder()
            retryStoreOutdated()
        }
        for words in Aftermath.words(
            owed: orders.owed,
            isSuspended: resumeOwed || standstill.owesRun,
            guestHasEnded: guestEndSeen || guest.ended() != nil,
            guest: guest.description.name
        ) {
            log.critical("\(words)")
        }
    }

    /// What a crashed guest said last belongs to no image, and its interfaces cannot go while it is held.
    func closeOutput(after result: ProtectResult) {
        switch result {
        case .ended(.crashed, _), .unanswered(.crashed), .nothingToDrop(.crashed), .outdated(.crashed):
            do throws(GuestError) {
                try output.dropAll()
            } catch {
                log.debug("what it said last is not dropped: \(error)")
            }
        default: break
        }
        output.close()
    }

    /// Writes down what the standby's host is called. Where that fails, whatever is written next has it too.
    func note(_ welcome: Welcome) {
        do {
            try records.note(standbyHost: welcome.host)
        } catch {
            log.error("cannot write down that the standby's host is \(welcome.host): \(error)")
        }
    }
}
