import CXen

/// Xen's libraries in this process.
package enum XenLibraries {
    /// Why they cannot be used here, in words for an operator; nil if they can.
    package static var whyNot: String? { CXen_load().map { String(cString: $0) } }

    /// The same of libxenstore alone, for a process that talks to xenstored only and has no time for the others.
    package static var whyNoStore: String? { CXen_load_store().map { String(cString: $0) } }
}
