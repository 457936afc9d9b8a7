//! Does the mesh hold on real hosts? Real programs in network namespaces, one file per
//! feature.
