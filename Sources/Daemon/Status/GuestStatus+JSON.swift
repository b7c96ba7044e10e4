extension GuestStatus.Epoch {
    package enum CodingKeys: String, CodingKey {
        case sent, acked, committed
    }

    /// All three keys are always there, as null where there is no such epoch yet.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(sent, forKey: .sent)
        try values.encode(acked, forKey: .acked)
        try values.encode(committed, forKey: .committed)
    }
}

extension GuestStatus {
    package enum CodingKeys: String, CodingKey {
        case schema, guest, uuid, role, state, protected, generation, session, epoch
        case lastAckAgeMs = "last_ack_age_ms"
        case heldBytes = "held_bytes"
        case mayActivate = "may_activate"
        case reasons
        case heldPackets = "held_packets"
        case droppedPackets = "dropped_packets"
        case heldPercent = "held_percent"
        case peer, transport, address
        case linkFailure = "link_failure"
        case lastContactAgeMs = "last_contact_age_ms"
        case intervalMs = "interval_ms"
        case latencyTargetMs = "latency_target_ms"
        case pages, pause
        case outputLatencyUs = "output_latency_us"
        case dirtyTracking = "dirty_tracking"
        case engine, arbiter
        case memoryBytes = "memory_bytes"
        case populatedBytes = "populated_bytes"
        case memoryCeilingBytes = "memory_ceiling_bytes"
        case memoryUsedBytes = "memory_used_bytes"
        case activation
        case startNeedsBytes = "start_needs_bytes"
        case startFreeBytes = "start_free_bytes"
        case imageAgeMs = "image_age_ms"
        case sync, since
    }

    /// Written by hand for one reason: `session`, `last_ack_age_ms` and `held_bytes` are always present, as null where
    /// there is none or nobody knows, so that a script can tell "not yet" from "an older remusd".
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(schema, forKey: .schema)
        try values.encode(guest, forKey: .guest)
        try values.encode(uuid, forKey: .uuid)
        try values.encode(role, forKey: .role)
        try values.encode(state, forKey: .state)
        try values.encode(protected, forKey: .protected)
        try values.encode(generation, forKey: .generation)
        try values.encode(session, forKey: .session)
        try values.encode(epoch, forKey: .epoch)
        try values.encode(lastAckAgeMs, forKey: .lastAckAgeMs)
        try values.encode(heldBytes, forKey: .heldBytes)
        try values.encode(mayActivate, forKey: .mayActivate)
        try values.encode(reasons, forKey: .reasons)
        try values.encodeIfPresent(heldPackets, forKey: .heldPackets)
        try values.encodeIfPresent(droppedPackets, forKey: .droppedPackets)
        try values.encodeIfPresent(heldPercent, forKey: .heldPercent)
        try values.encodeIfPresent(peer, forKey: .peer)
        try values.encodeIfPresent(transport, forKey: .transport)
        try values.encodeIfPresent(address, forKey: .address)
        try values.encodeIfPresent(linkFailure, forKey: .linkFailure)
        try values.encodeIfPresent(lastContactAgeMs, forKey: .lastContactAgeMs)
        try values.encodeIfPresent(intervalMs, forKey: .intervalMs)
        try values.encodeIfPresent(latencyTargetMs, forKey: .latencyTargetMs)
        try values.encodeIfPresent(pages, forKey: .pages)
        try values.encodeIfPresent(pause, forKey: .pause)
        try values.encodeIfPresent(outputLatencyUs, forKey: .outputLatencyUs)
        try values.encodeIfPresent(dirtyTracking, forKey: .dirtyTracking)
        try values.encodeIfPresent(engine, forKey: .engine)
        try values.encodeIfPresent(arbiter, forKey: .arbiter)
        try values.encodeIfPresent(memoryBytes, forKey: .memoryBytes)
        try values.encodeIfPresent(populatedBytes, forKey: .populatedBytes)
        try values.encodeIfPresent(memoryCeilingBytes, forKey: .memoryCeilingBytes)
        try values.encodeIfPresent(memoryUsedBytes, forKey: .memoryUsedBytes)
        try values.encodeIfPresent(activation, forKey: .activation)
        try values.encodeIfPresent(startNeedsBytes, forKey: .startNeedsBytes)
        try values.encodeIfPresent(startFreeBytes, forKey: .startFreeBytes)
        try values.encodeIfPresent(imageAgeMs, forKey: .imageAgeMs)
        try values.encodeIfPresent(sync, forKey: .sync)
        try values.encodeIfPresent(since, forKey: .since)
    }
}
