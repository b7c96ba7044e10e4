import Checkpoint
import Synchronization
import XenStream

extension StandbyService {
    /// The routes of the standby's control socket.
    package var router: ControlRouter {
        var router = ControlRouter()
        router.on("GET", "/v1/status") { [self] _, _ in
            let used = usedMemory
            return .encoding(allGuests.map { $0.status(ceiling: memoryCeiling, used: used) })
        }
        router.on("POST", "/v1/guests/{name}/activate") { [self] request, names in
            let order = try request.decode(ActivateRequest.self)
            let name = names["name"] ?? ""
            guard let guest = guest(named: name) else {
                return .encoding(
                    ActivateReply(
                        guest: name,
                        outcome: .noConsistentImage,
                        message:
                            "no guest \(name) is known to this standby; remusd status shows those that are"
                    )
                )
            }
            return .encoding(guest.activate(order, with: activator, by: request.speaker))
        }
        router.on("POST", "/v1/guests/{name}/resolve") { [self] request, names in
            let order = try request.decode(ResolveRequest.self)
            let name = names["name"] ?? ""
            guard let guest = guest(named: name) else {
                let message = "no guest \(name) is known to this standby"
                return .encoding(
                    WordReply(guest: name, outcome: .nothingToDo, generation: 0, message: message)
                )
            }
            return .encoding(guest.resolve(order, by: request.speaker))
        }
        router.on("GET", "/v1/guests/{name}/export") { [self] _, names in
            let name = names["name"] ?? ""
            guard let guest = guest(named: name) else {
                throw ControlFailure(
                    status: 404,
                    code: "unknown_guest",
                    message: "no guest \(name) is known to this standby"
                )
            }
            guard let image = guest.state.withLock({ $0.image }) else {
                throw ControlFailure(
                    status: 409,
                    code: "no_image",
                    message: "there is no committed image of guest \(name) here"
                )
            }
            guard !image.image.isWarm else {
                throw ControlFailure(
                    status: 409,
                    code: "warm",
                    message:
                        "guest \(name) is kept warm here, in a domain of its own, and there is no second copy to "
                        + "export: remusd standby --activation cold keeps one"
                )
            }
            return .stream(contentType: "application/octet-stream") { sink in
                try PlainImage.write(try ImageExport(of: image.image), to: sink)
            }
        }
        return router
    }
}
