HOST = "vc.example.com";
USERNAME=​"backup";
	LOGLEVEL =	3 ;
﻿// joined from two files
PORT=443;
