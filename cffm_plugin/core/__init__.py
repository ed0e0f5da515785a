class CFFM: pass
