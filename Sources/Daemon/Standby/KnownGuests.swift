/// The guests that a standby knows.
struct KnownGuests {
    private var byName: [GuestName: StandbyGuest] = [:]
    /// In the order of their names: whoever looks at them many times a second copies nothing.
    private(set) var all: [StandbyGuest] = []

    subscript(name: GuestName) -> StandbyGuest? {
        get { byName[name] }
        set {
            byName[name] = newValue
            all = byName.values.sorted { $0.name < $1.name }
        }
    }
}
