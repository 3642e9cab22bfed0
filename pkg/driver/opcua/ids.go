package opcua

// Nodes of namespace 0 that the driver uses (OPC 10000-6, annex A).
const (
	idHasEncoding            = 38
	idHasSubtype             = 45
	idHasProperty            = 46
	idHierarchicalReferences = 33
	idRootFolder             = 84
	idObjectsFolder          = 85
	idNamespaceArray         = 2255
	idServerStatus           = 2256
	idServerState            = 2259
	idMinSupportedSampleRate = 2272

	idMaxNodesPerRead          = 11705
	idMaxNodesPerWrite         = 11707
	idMaxNodesPerBrowse        = 11710
	idMaxNodesPerTranslate     = 11712
	idMaxMonitoredItemsPerCall = 11714
)
