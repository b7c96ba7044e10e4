import CNetlink

/// Builds requests with libnl and hands out their bytes, which can be sent any number of times.
package enum NetlinkRequest {
    /// Builds one request.
    /// - Parameters:
    ///   - action: what it does, for the error if it cannot be built.
    ///   - flags: NLM_F_* in addition to what libnl sets; NLM_F_ACK is always added.
    ///   - build: makes the message, returns libnl's error number.
    static func bytes(
        _ action: @autoclosure () -> String,
        flags: Int32 = 0,
        _ build: (inout OpaquePointer?) -> Int32
    ) throws(NetlinkError) -> [UInt8] {
        var message: OpaquePointer?
        let failure = build(&message)
        defer { nlmsg_free(message) }
        guard failure >= 0, let message, let header = nlmsg_hdr(message) else {
            throw NetlinkError(action(), code: failure < 0 ? failure : -NLE_NOMEM)
        }
        header.pointee.nlmsg_flags |= UInt16(NLM_F_REQUEST) | UInt16(NLM_F_ACK) | UInt16(flags)
        let length = Int(header.pointee.nlmsg_len)
        let content = UnsafeRawBufferPointer(start: header, count: length)
        return Array(content) + [UInt8](repeating: 0, count: -length & 3)
    }

    // MARK: Devices

    /// A new ifb, down.
    package static func makeDevice(_ name: String) throws(NetlinkError) -> [UInt8] {
        try bytes("make \(name)", flags: NLM_F_EXCL) { message in
            guard let link = rtnl_link_alloc() else { return -NLE_NOMEM }
            defer { rtnl_link_put(link) }
            let failure = rtnl_link_set_type(link, "ifb")
            guard failure >= 0 else { return failure }
            rtnl_link_set_name(link, name)
            // What ifb takes at a time; its own default of 32 makes a release stutter (linux drivers/net/ifb.c).
            rtnl_link_set_txqlen(link, 1000)
            return rtnl_link_build_add_request(link, NLM_F_CREATE, &message)
        }
    }

    /// Gives a device an alias: the name of the interface that it is for. The kernel does not heed one while it makes a device
    /// (linux net/core/rtnetlink.c, rtnl_create_link).
    package static func name(_ index: Int32, alias: String) throws(NetlinkError) -> [UInt8] {
        try change(index, "name device \(index)") { rtnl_link_set_ifalias($0, alias) }
    }

    /// Brings a device up.
    package static func bringUp(_ index: Int32) throws(NetlinkError) -> [UInt8] {
        try change(index, "bring device \(index) up") { rtnl_link_set_flags($0, 1) }  // IFF_UP
    }

    /// Takes a device down: what its qdisc holds is lost, and what is redirected to it is dropped.
    package static func takeDown(_ index: Int32) throws(NetlinkError) -> [UInt8] {
        try change(index, "take device \(index) down") { rtnl_link_unset_flags($0, 1) }  // IFF_UP
    }

    static func change(
        _ index: Int32,
        _ action: String,
        _ edit: (OpaquePointer) -> Void
    ) throws(NetlinkError) -> [UInt8] {
        try bytes(action) { message in
            guard let old = rtnl_link_alloc(), let new = rtnl_link_alloc() else { return -NLE_NOMEM }
            defer {
                rtnl_link_put(old)
                rtnl_link_put(new)
            }
            rtnl_link_set_ifindex(old, index)
            edit(new)
            return rtnl_link_build_change_request(old, new, 0, &message)
        }
    }

    /// Removes a device.
    package static func removeDevice(_ index: Int32) throws(NetlinkError) -> [UInt8] {
        try bytes("remove device \(index)") { message in
            guard let link = rtnl_link_alloc() else { return -NLE_NOMEM }
            defer { rtnl_link_put(link) }
            rtnl_link_set_ifindex(link, index)
            return rtnl_link_build_delete_request(link, &message)
        }
    }

    /// One device by name; answered with RTM_NEWLINK.
    package static func device(named name: String) throws(NetlinkError) -> [UInt8] {
        try bytes("find \(name)") { rtnl_link_build_get_request(0, name, &$0) }
    }

    /// One device by index; answered with RTM_NEWLINK.
    package static func device(_ index: Int32) throws(NetlinkError) -> [UInt8] {
        try bytes("find device \(index)") { rtnl_link_build_get_request(index, nil, &$0) }
    }

    /// All devices; each is an RTM_NEWLINK.
    package static func devices() throws(NetlinkError) -> [UInt8] {
        // struct ifinfomsg, 16 bytes; RTM_GETLINK of linux/rtnetlink.h.
        try dump(type: 18, fixed: [UInt8](repeating: 0, count: 16))
    }

    // MARK: Plugs

    /// What to do with a plug, by its qdisc's options (linux/pkt_sched.h, struct tc_plug_qopt: action, limit).
    package enum PlugChange {
        case limit(Int32), buffer, releaseOne, releaseIndefinite
    }

    /// A plug as a device's root. It holds everything and has the limit 0: nothing enters before it is given another.
    package static func makePlug(on device: Int32) throws(NetlinkError) -> [UInt8] {
        try bytes("put a plug on device \(device)", flags: NLM_F_EXCL) { message in
            withPlug(on: device) { rtnl_qdisc_build_add_request($0, NLM_F_CREATE, &message) }
        }
    }

    package static func changePlug(on device: Int32, _ change: PlugChange) throws(NetlinkError) -> [UInt8] {
        try bytes("work the plug of device \(device)") { message in
            withPlug(on: device) { plug in
                let failure =
                    switch change {
                    case .limit(let bytes): rtnl_qdisc_plug_set_limit(plug, bytes)
                    case .buffer: rtnl_qdisc_plug_buffer(plug)
                    case .releaseOne: rtnl_qdisc_plug_release_one(plug)
                    case .releaseIndefinite: rtnl_qdisc_plug_release_indefinite(plug)
                    }
                return failure < 0 ? failure : rtnl_qdisc_build_add_request(plug, 0, &message)
            }
        }
    }

    private static func withPlug(on device: Int32, _ body: (OpaquePointer) -> Int32) -> Int32 {
        guard let plug = rtnl_qdisc_alloc() else { return -NLE_NOMEM }
        defer { rtnl_qdisc_put(plug) }
        rtnl_tc_set_ifindex(plug, device)
        rtnl_tc_set_parent(plug, 0xffff_ffff)  // TC_H_ROOT
        rtnl_tc_set_handle(plug, 0x1_0000)
        let failure = rtnl_tc_set_kind(plug, "plug")
        return failure < 0 ? failure : body(plug)
    }

    /// The qdisc at a parent (TC_H_ROOT, TC_H_INGRESS) of a device, with its counters; answered with RTM_NEWQDISC.
    /// Up to Linux 6.5 the answer comes to whoever asks only with NLM_F_ECHO.
    package static func qdisc(of device: Int32, at parent: UInt32) throws(NetlinkError) -> [UInt8] {
        // RTM_GETQDISC, struct tcmsg of linux/rtnetlink.h.
        try plain(type: 38, flags: 0x8, fixed: trafficHeader(device, parent))
    }

    // MARK: Redirection

    /// The parent of what is attached to an ingress qdisc (ffff:).
    package static let ingress: UInt32 = 0xffff_0000
    /// TC_H_INGRESS of linux/pkt_sched.h: where the ingress qdisc itself is.
    package static let ingressParent: UInt32 = 0xffff_fff1

    package static func makeIngress(on interface: Int32) throws(NetlinkError) -> [UInt8] {
        try bytes("make an ingress qdisc on interface \(interface)", flags: NLM_F_EXCL) { message in
            withIngress(on: interface) { rtnl_qdisc_build_add_request($0, NLM_F_CREATE, &message) }
        }
    }

    package static func removeIngress(on interface: Int32) throws(NetlinkError) -> [UInt8] {
        try bytes("remove the ingress qdisc of interface \(interface)") { message in
            withIngress(on: interface) { rtnl_qdisc_build_delete_request($0, &message) }
        }
    }

    private static func withIngress(
        on interface: Int32,
        kind: String = "ingress",
        _ body: (OpaquePointer) -> Int32
    ) -> Int32 {
        guard let qdisc = rtnl_qdisc_alloc() else { return -NLE_NOMEM }
        defer { rtnl_qdisc_put(qdisc) }
        rtnl_tc_set_ifindex(qdisc, interface)
        rtnl_tc_set_parent(qdisc, ingressParent)
        rtnl_tc_set_handle(qdisc, ingress)
        let failure = rtnl_tc_set_kind(qdisc, kind)
        return failure < 0 ? failure : body(qdisc)
    }

    /// Everything that comes in at `interface`, of every ethertype, goes out at `device` instead.
    /// The filter's handle is the device's index, which is how it is found again.
    /// - Parameter manner: whether the packet itself goes there, or a copy.
    package static func redirect(
        from interface: Int32,
        to device: Int32,
        priority: UInt16,
        parent: UInt32 = ingress,
        manner: HoldManner = .asIs
    ) throws(NetlinkError) -> [UInt8] {
        try bytes("redirect interface \(interface)", flags: NLM_F_EXCL) { message in
            withFilter(on: interface, priority: priority, parent: parent) { filter in
                guard let action = rtnl_act_alloc() else { return -NLE_NOMEM }
                defer { rtnl_act_put(action) }
                rtnl_tc_set_handle(filter, UInt32(device))
                var failure = rtnl_tc_set_kind(action, "mirred")
                if failure >= 0 { failure = rtnl_mirred_set_action(action, 1) }  // TCA_EGRESS_REDIR
                // TC_ACT_PIPE, TC_ACT_STOLEN
                if failure >= 0 { failure = rtnl_mirred_set_policy(action, manner == .copied ? 3 : 4) }
                if failure >= 0 { failure = rtnl_mirred_set_ifindex(action, UInt32(device)) }
                if failure >= 0 { failure = rtnl_mall_append_action(filter, action) }
                if failure >= 0, manner == .copied { failure = appendDrop(filter) }
                return failure < 0 ? failure : rtnl_cls_build_add_request(filter, NLM_F_CREATE, &message)
            }
        }
    }

    /// The packet itself ends here, once its copy is on its way.
    private static func appendDrop(_ filter: OpaquePointer) -> Int32 {
        guard let drop = rtnl_act_alloc() else { return -NLE_NOMEM }
        defer { rtnl_act_put(drop) }
        var failure = rtnl_tc_set_kind(drop, "gact")
        if failure >= 0 { failure = rtnl_gact_set_action(drop, 4) }  // TC_ACT_STOLEN
        return failure < 0 ? failure : rtnl_mall_append_action(filter, drop)
    }

    /// Removes the filter of a priority.
    package static func endRedirect(from interface: Int32, priority: UInt16) throws(NetlinkError) -> [UInt8] {
        try bytes("end a redirection of interface \(interface)") { message in
            withFilter(on: interface, priority: priority) { rtnl_cls_build_delete_request($0, 0, &message) }
        }
    }

    private static func withFilter(
        on interface: Int32,
        priority: UInt16,
        parent: UInt32 = ingress,
        _ body: (OpaquePointer) -> Int32
    ) -> Int32 {
        guard let filter = rtnl_cls_alloc() else { return -NLE_NOMEM }
        defer { rtnl_cls_put(filter) }
        rtnl_tc_set_ifindex(filter, interface)
        rtnl_tc_set_parent(filter, parent)
        rtnl_cls_set_prio(filter, priority)
        rtnl_cls_set_protocol(filter, 3)  // ETH_P_ALL of linux/if_ether.h
        let failure = rtnl_tc_set_kind(filter, "matchall")
        return failure < 0 ? failure : body(filter)
    }

    // MARK: Injection

    /// A qdisc for filters on both ways (clsact).
    package static func makeClassifier(on device: Int32) throws(NetlinkError) -> [UInt8] {
        try bytes("make a clsact qdisc on device \(device)", flags: NLM_F_EXCL) { message in
            withIngress(on: device, kind: "clsact") {
                rtnl_qdisc_build_add_request($0, NLM_F_CREATE, &message)
            }
        }
    }

    /// Everything that goes out at `device` comes in at `interface`, as if it had been received there.
    package static func inject(from device: Int32, into interface: Int32) throws(NetlinkError) -> [UInt8] {
        var request = try redirect(from: device, to: interface, priority: 1, parent: 0xffff_fff3)  // egress
        // libnl sets no other action than to the egress. The message ends with struct tc_mirred, and that with eaction and
        // ifindex (linux/tc_act/tc_mirred.h): TCA_INGRESS_REDIR.
        request[request.count - 8] = 3
        return request
    }

    /// The filters on an interface's ingress; each is an RTM_NEWTFILTER.
    package static func filters(on interface: Int32) throws(NetlinkError) -> [UInt8] {
        // RTM_GETTFILTER
        try dump(type: 46, fixed: trafficHeader(interface, ingress))
    }

    // MARK: Pieces

    /// struct tcmsg of linux/rtnetlink.h: family, device, handle, parent, info; 20 bytes.
    private static func trafficHeader(_ device: Int32, _ parent: UInt32) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 20)
        header.withUnsafeMutableBytes {
            $0.storeBytes(of: device, toByteOffset: 4, as: Int32.self)
            $0.storeBytes(of: parent, toByteOffset: 12, as: UInt32.self)
        }
        return header
    }

    private static func dump(type: Int32, fixed: [UInt8]) throws(NetlinkError) -> [UInt8] {
        try plain(type: type, flags: NLM_F_ROOT | NLM_F_MATCH, fixed: fixed)
    }

    static func plain(type: Int32, flags: Int32, fixed: [UInt8]) throws(NetlinkError) -> [UInt8] {
        try bytes("ask the kernel", flags: flags) { message in
            message = nlmsg_alloc_simple(type, 0)
            guard message != nil else { return -NLE_NOMEM }
            return fixed.withUnsafeBytes {
                nlmsg_append(message, UnsafeMutableRawPointer(mutating: $0.baseAddress), $0.count, 4)
            }
        }
    }
}
